//! Compiles the copy, and leaves out the mutants that the compiler refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::tree::{Sources, write};

/// A test program.
#[derive(Debug, Clone)]
pub struct Program {
    /// `lib` for the unit tests.
    pub name: String,
    pub path: PathBuf,
}

/// Cargo in the copy: optimised a little, without debug information, so that programs are quick to link.
pub struct Compiler<'a> {
    pub tree: &'a Path,
    pub target: &'a Path,
}

impl Compiler<'_> {
    fn cargo(&self, arguments: &[String]) -> io::Result<(bool, Vec<Value>)> {
        let output = Command::new("cargo")
            .args(arguments)
            .args(["--all-features", "--message-format=json"])
            .current_dir(self.tree)
            .env("CARGO_TARGET_DIR", self.target)
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_PROFILE_TEST_DEBUG", "0")
            .stderr(Stdio::inherit())
            .output()?;
        let lines = String::from_utf8_lossy(&output.stdout);
        Ok((output.status.success(), lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()))
    }

    /// Writes the mutants in and drops those that do not compile, until the rest does. `dropped` begins with those that
    /// are known.
    ///
    /// # Errors
    /// When an error cannot be traced to a mutant.
    pub fn settle(&self, sources: &Sources, dropped: &mut BTreeSet<u32>) -> io::Result<()> {
        loop {
            let mut places = BTreeMap::new();
            for file in sources.texts.keys() {
                let rewritten = sources.rewritten(file, dropped);
                write(&self.tree.join(file), rewritten.text.as_bytes())?;
                places.insert(file.as_str(), rewritten.places);
            }
            let (compiles, messages) = self.cargo(&["check".into(), "--lib".into()])?;
            if compiles {
                return Ok(());
            }
            let before = dropped.len();
            // What the compiler points at first, or else whatever it mentions.
            for is_primary in [true, false] {
                for (file, at) in messages.iter().flat_map(|message| error_places(message, is_primary)) {
                    let Some(places) = places.get(file.as_str()) else { continue };
                    dropped.extend(culprit(places, &at));
                }
                if dropped.len() > before {
                    break;
                }
            }
            if dropped.len() == before {
                return Err(io::Error::other(format!("it does not compile:\n{}", errors(&messages))));
            }
            println!("{} mutants do not compile so far", dropped.len());
        }
    }

    /// Builds test programs.
    ///
    /// # Errors
    /// When they do not compile.
    pub fn build(&self, names: &[String]) -> io::Result<Vec<Program>> {
        let mut arguments: Vec<String> = ["test", "--no-run", "--lib"].map(String::from).into();
        arguments.extend(names.iter().flat_map(|name| ["--test".to_owned(), name.clone()]));
        let (compiles, messages) = self.cargo(&arguments)?;
        if !compiles {
            return Err(io::Error::other(format!("the tests do not compile:\n{}", errors(&messages))));
        }
        let program = |message: &Value| {
            let path = message["executable"].as_str()?;
            let is_library = message["target"]["kind"][0].as_str()? == "lib";
            let name = if is_library { "lib" } else { message["target"]["name"].as_str()? };
            message["profile"]["test"].as_bool()?.then(|| Program { name: name.to_owned(), path: path.into() })
        };
        Ok(messages.iter().filter_map(program).collect())
    }
}

/// What the compiler says, without its warnings.
fn errors(messages: &[Value]) -> String {
    let errors = messages.iter().map(|message| &message["message"]).filter(|message| message["level"] == "error");
    errors.filter_map(|message| message["rendered"].as_str()).collect()
}

/// Where the compiler says that something is wrong.
fn error_places(message: &Value, is_primary: bool) -> Vec<(String, Range<usize>)> {
    let message = &message["message"];
    if message["level"].as_str() != Some("error") {
        return Vec::new();
    }
    let place = |span: &Value| {
        let (start, end) = (span["byte_start"].as_u64()? as usize, span["byte_end"].as_u64()? as usize);
        Some((span["file_name"].as_str()?.to_owned(), start..end))
    };
    let spans = message["spans"].as_array().into_iter().flatten();
    spans.filter(|span| span["is_primary"].as_bool() == Some(is_primary)).filter_map(place).collect()
}

/// The mutant whose text has the error, or else the smallest one around it.
fn culprit(places: &[(u32, Range<usize>, Range<usize>)], at: &Range<usize>) -> Option<u32> {
    let within = |place: &Range<usize>| place.start <= at.start && at.end <= place.end;
    let written = places.iter().find(|(_, text, _)| within(text));
    let around = || places.iter().filter(|(_, _, whole)| within(whole)).min_by_key(|(_, _, whole)| whole.len());
    written.or_else(around).map(|(number, ..)| *number)
}
