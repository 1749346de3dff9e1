//! `kafka-configs --alter`: what to set and what to take back.

use std::path::PathBuf;

use clap::Args;

use super::Failed;
use super::properties::Properties;

/// What to set and what to take back.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// KEY=VALUE pairs with commas between them; values with commas in square brackets.
    #[arg(long)]
    add_config: Option<String>,
    /// A file of them.
    #[arg(long, value_name = "FILE")]
    add_config_file: Option<PathBuf>,
    /// Keys with commas between them.
    #[arg(long)]
    delete_config: Option<String>,
}

/// The same, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) add: Vec<(String, String)>,
    pub(super) delete: Vec<String>,
}

impl Options {
    /// Takes it apart; there has to be something.
    pub(super) fn read(&self) -> Result<Changes, Failed> {
        if self.add_config.is_some() && self.add_config_file.is_some() {
            return Err("Only one of --add-config or --add-config-file must be specified.".into());
        }
        let mut add = pairs(self.add_config.as_deref().unwrap_or_default())?;
        if let Some(path) = &self.add_config_file {
            let mut file = Properties::new("--add-config-file");
            file.read_file(path)?;
            add.extend(file.into_pairs());
        }
        let delete = self.delete_config.iter().flat_map(|keys| keys.split(','));
        let delete: Vec<_> =
            delete.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).collect();
        if add.is_empty() && delete.is_empty() {
            return Err(
                "At least one of --add-config, --add-config-file, or --delete-config must be \
                        specified with --alter"
                    .into(),
            );
        }
        Ok(Changes { add, delete })
    }
}

/// `a=1,b=[2,3]`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, Failed> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    for c in text.chars().chain([',']) {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    let pairs = parts.map(|part| {
        let (key, value) = part.split_once('=').ok_or(NO_PAIR)?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    });
    pairs.collect()
}

const NO_PAIR: &str = "requirement failed: Invalid entity config: all configs to be added must be \
                       in the format \"key=val\".";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_commas_stand_in_brackets() {
        let read = pairs("a=1, b=[2,3],c=").expect("three");
        let of = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read, [of("a", "1"), of("b", "2,3"), of("c", "")]);
        assert!(pairs("a").is_err());
    }
}
