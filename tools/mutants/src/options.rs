//! What the command line asks for.

use std::path::PathBuf;
use std::time::Duration;

pub const USAGE: &str = "\
Mutation testing of watertight. Run it from the root of the repository:

    cargo run --release --manifest-path tools/mutants/Cargo.toml -- [options]

    --only PATH       only mutants of files whose path begins so; several times for several (default: all that are looked at)
    --jobs N          tests that run at once (default 1)
    --minutes N       stop after so long; the next run goes on there (default: no limit)
    --quick N         at most so many covering tests for each mutant, the fastest first; leave it out, and survivors
                      meet all of their tests
    --slow            also the slow test programs, for what has survived
    --again           run survivors again, after new tests
    --record NAME     record anew which places the tests of this program reach; several times for several
    --scratch DIR     where the tree, the map and the results are kept (default: target/mutants)
    --target DIR      where it is compiled (default: SCRATCH/target)
    --list            print the mutants and stop
    --report          print the table of what is known and stop
";

/// The command line, read.
#[derive(Debug)]
pub struct Options {
    pub only: Vec<String>,
    pub jobs: usize,
    pub budget: Option<Duration>,
    pub quick: Option<usize>,
    pub slow: bool,
    pub again: bool,
    pub record: Vec<String>,
    pub scratch: PathBuf,
    pub target: PathBuf,
    pub list: bool,
    pub report: bool,
}

impl Options {
    /// # Errors
    /// What cannot be understood, in words.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            only: Vec::new(),
            jobs: 1,
            budget: None,
            quick: None,
            slow: false,
            again: false,
            record: Vec::new(),
            scratch: PathBuf::from("target/mutants"),
            target: PathBuf::new(),
            list: false,
            report: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--only" => options.only.push(value()?),
                "--jobs" => options.jobs = number(&value()?)?.max(1),
                "--minutes" => options.budget = Some(Duration::from_secs(60 * number(&value()?)? as u64)),
                "--quick" => options.quick = Some(number(&value()?)?),
                "--slow" => options.slow = true,
                "--again" => options.again = true,
                "--record" => options.record.push(value()?),
                "--scratch" => options.scratch = value()?.into(),
                "--target" => options.target = value()?.into(),
                "--list" => options.list = true,
                "--report" => options.report = true,
                _ => return Err(format!("{argument} is unknown")),
            }
        }
        if options.target.as_os_str().is_empty() {
            options.target = options.scratch.join("target");
        }
        Ok(options)
    }

    pub fn is_asked_for(&self, file: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| file.starts_with(only.as_str()))
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}
