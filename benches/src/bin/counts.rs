//! Counts instructions and compares them with `benches/counts.toml`.
//!
//! ```text
//! counts          compare all; fails where an operation takes 5 % more instructions
//! counts show     count and print, compare nothing
//! counts renew    write what is counted to counts.toml
//! ```
//!
//! `run CASE` and `cpu` are what it has valgrind execute. Callgrind's profiles stay in the folder
//! `callgrind` beside the program, for `callgrind_annotate`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use odradek_benches::counts::callgrind::{self, CountError};
use odradek_benches::counts::{
    CASES, Case, Committed, Comparison, Counts, Tools, Verdict, compare, run,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        [] => check(),
        ["show"] => show(),
        ["renew"] => renew(),
        ["run", name] => case(name).map(|case| {
            run(case);
            true
        }),
        ["cpu"] => {
            println!("{}", callgrind::cpu());
            Ok(true)
        }
        _ => Err("usage: counts [show | renew]".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::FAILURE
        }
    }
}

fn case(name: &str) -> Result<&'static Case, Failure> {
    let found = CASES.iter().find(|case| case.name == name);
    found.ok_or_else(|| format!("there is no case {name}").into())
}

fn check() -> Result<bool, Failure> {
    let committed = Committed::load(Path::new(FILE))?;
    let tools = callgrind::tools(&env::current_exe()?)?;
    let other_tools = committed.other_tools(&tools);
    let arch =
        |tools: &Tools| tools.get("cpu").and_then(|cpu| cpu.split(' ').next().map(str::to_owned));
    let (there, here) = (arch(&committed.counted_with), arch(&tools));
    if there != here {
        println!("{FILE} was counted on {there:?}, this is {here:?}: nothing is compared");
        return Ok(true);
    }
    let comparisons = compare(&committed.instructions, &count()?);
    comparisons.iter().for_each(print);
    let any = |verdict| comparisons.iter().any(|comparison| comparison.verdict() == verdict);
    let same_tools = other_tools.is_empty();
    if !same_tools {
        println!("\ncounted with other tools than {FILE}:");
        other_tools.iter().for_each(|tool| println!("  {tool}"));
    }
    if any(Verdict::Worse) {
        println!("{}", if same_tools { WORSE } else { OTHER_TOOLS });
    }
    if any(Verdict::New) || any(Verdict::Gone) {
        println!("{CASES_CHANGED}");
    }
    if any(Verdict::Better) {
        println!("{BETTER}");
    }
    Ok(!comparisons.iter().any(|comparison| comparison.verdict().fails(same_tools)))
}

fn show() -> Result<bool, Failure> {
    for (case, count) in count()? {
        println!("{case:28} {count:>10}");
    }
    Ok(true)
}

fn renew() -> Result<bool, Failure> {
    let counted_with = callgrind::tools(&env::current_exe()?)?;
    let instructions = count()?;
    if let Ok(before) = Committed::load(Path::new(FILE)) {
        compare(&before.instructions, &instructions).iter().for_each(print);
    }
    Committed { counted_with, instructions }.store(Path::new(FILE))?;
    Ok(true)
}

/// Counts all cases, as many at once as there are CPUs.
fn count() -> Result<Counts, Failure> {
    let program = env::current_exe()?;
    let profiles = program.with_file_name("callgrind");
    fs::create_dir_all(&profiles)?;
    let next = AtomicUsize::new(0);
    let counted: Mutex<Result<Counts, CountError>> = Mutex::new(Ok(Counts::new()));
    let work = || {
        while let Some(case) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
            let count = callgrind::count(&program, case, &profiles);
            let mut counted = counted.lock().expect("nobody panics with it");
            match (&mut *counted, count) {
                (Ok(counts), Ok(count)) => drop(counts.insert(case.name.to_owned(), count)),
                (Ok(_), Err(error)) => *counted = Err(error),
                (Err(_), _) => return,
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    Ok(counted.into_inner().expect("nobody panicked with it")?)
}

fn print(comparison: &Comparison) {
    let number = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let percent = comparison.percent().map_or_else(String::new, |p| format!("{p:+.1} %"));
    let mark = match comparison.verdict() {
        Verdict::Same => "",
        Verdict::Better => "better",
        Verdict::Worse => "WORSE",
        Verdict::New => "NEW",
        Verdict::Gone => "GONE",
    };
    let (before, now) = (number(comparison.committed), number(comparison.counted));
    println!("{:28} {before:>10} {now:>10} {percent:>9} {mark}", comparison.case);
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.toml");

const WORSE: &str = "
An operation takes 5 % more instructions than before, or worse. If that is what the change is
worth, renew the counts (`counts renew`) and say why in the commit that holds them.";

const OTHER_TOOLS: &str = "
An operation takes 5 % more instructions, but that may come from the tools: count the tree without
the change with the tools of here. If it takes as many, renew the counts (`counts renew`) in a
commit of their own; if not, the change is the cause.";

const CASES_CHANGED: &str = "
The cases are not those of counts.toml: renew it (`counts renew`).";

const BETTER: &str = "
An operation got better: renew the counts (`counts renew`), so that it stays so.";
