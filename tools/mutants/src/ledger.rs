//! What is kept between runs: the map of tests and places, and what became of each mutant. Plain text, one line each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::suite::Test;

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// A test failed.
    Killed { by: String },
    /// A test did not end.
    TimedOut { by: String },
    /// Every test that it met passed: so many of those that reach its place.
    Survived { met: usize, of: usize },
    /// No test reaches its place.
    NotReached,
    /// The compiler refuses it.
    Unbuildable,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed { by } => write!(f, "killed by {by}"),
            Self::TimedOut { by } => write!(f, "timed out in {by}"),
            Self::Survived { met, of } => write!(f, "survived {met} of {of}"),
            Self::NotReached => f.write_str("not reached"),
            Self::Unbuildable => f.write_str("unbuildable"),
        }
    }
}

impl Fate {
    fn parse(text: &str) -> Option<Self> {
        let survived = |counts: &str| {
            let (met, of) = counts.split_once(" of ")?;
            Some(Self::Survived { met: met.parse().ok()?, of: of.parse().ok()? })
        };
        match text {
            "not reached" => Some(Self::NotReached),
            "unbuildable" => Some(Self::Unbuildable),
            _ => None
                .or_else(|| text.strip_prefix("killed by ").map(|by| Self::Killed { by: by.to_owned() }))
                .or_else(|| text.strip_prefix("timed out in ").map(|by| Self::TimedOut { by: by.to_owned() }))
                .or_else(|| text.strip_prefix("survived ").and_then(survived)),
        }
    }
}

/// The file of results: the last line of a mutant counts.
pub struct Ledger {
    path: PathBuf,
    fates: BTreeMap<String, Fate>,
}

impl Ledger {
    /// # Errors
    /// When it is there and cannot be read.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let text = if path.exists() { fs::read_to_string(&path)? } else { String::new() };
        let line = |line: &str| {
            let (key, fate) = line.split_once('\t')?;
            Some((key.to_owned(), Fate::parse(fate)?))
        };
        Ok(Self { fates: text.lines().filter_map(line).collect(), path })
    }

    pub fn fate(&self, key: &str) -> Option<&Fate> {
        self.fates.get(key)
    }

    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, key: String, fate: Fate) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        file.write_all(format!("{key}\t{fate}\n").as_bytes())?;
        self.fates.insert(key, fate);
        Ok(())
    }
}

/// The map of tests and places, for one state of the sources.
pub struct Map {
    path: PathBuf,
    pub tests: Vec<Test>,
}

impl Map {
    /// # Errors
    /// When it is there and cannot be read.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let text = if path.exists() { fs::read_to_string(&path)? } else { String::new() };
        Ok(Self { tests: text.lines().filter_map(parse_test).collect(), path })
    }

    pub fn has(&self, program: &str, name: &str) -> bool {
        self.tests.iter().any(|test| test.program == program && test.name == name)
    }

    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, test: Test) -> io::Result<()> {
        append(&self.path, &test)?;
        self.tests.push(test);
        Ok(())
    }

    /// Forgets some tests, which are then recorded anew.
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub fn forget(&mut self, is_forgotten: impl Fn(&Test) -> bool) -> io::Result<()> {
        self.tests.retain(|test| !is_forgotten(test));
        File::create(&self.path)?;
        self.tests.iter().try_for_each(|test| append(&self.path, test))
    }

    /// The tests that reach a mutant's place, the fastest first, and otherwise in an order that stays.
    pub fn covering(&self, number: u32) -> Vec<&Test> {
        let mut found: Vec<_> =
            self.tests.iter().filter(|test| test.passes && test.reaches.contains(&number)).collect();
        found.sort_by_key(|test| (test.takes, &test.program, &test.name));
        found
    }
}

fn append(path: &Path, test: &Test) -> io::Result<()> {
    let reaches: Vec<_> = test.reaches.iter().map(u32::to_string).collect();
    let Test { program, name, takes, passes, .. } = test;
    let line = format!("{program}\t{name}\t{}\t{passes}\t{}\n", takes.as_micros(), reaches.join(","));
    OpenOptions::new().append(true).create(true).open(path)?.write_all(line.as_bytes())
}

fn parse_test(line: &str) -> Option<Test> {
    let mut parts = line.split('\t');
    let (program, name) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let takes = Duration::from_micros(parts.next()?.parse().ok()?);
    let passes = parts.next()?.parse().ok()?;
    let reaches: BTreeSet<u32> = parts.next()?.split(',').filter_map(|number| number.parse().ok()).collect();
    Some(Test { program, name, takes, reaches, passes })
}
