//! Tables with columns as wide as what is in them.

/// Prints a head and rows, all of one length.
pub(crate) fn print(head: &[&str], rows: Vec<Vec<String>>) {
    let mut lines = vec![head.iter().map(|&name| name.to_owned()).collect()];
    lines.extend(rows);
    let width = |column: usize| lines.iter().map(|line: &Vec<String>| line[column].len()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
