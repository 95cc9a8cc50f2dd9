//! The copy of the repository in which all mutants are compiled in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::finder;
use crate::mutant::{Mutant, Rewritten, rewrite};

/// What is looked at.
pub const DIRECTORIES: [&str; 5] = ["src/crypto", "src/access", "src/catalog", "src/identity", "src/store"];

/// What the copy does without.
const NOT_COPIED: [&str; 4] = [".git", "fuzz", "target", "tools"];

/// What a changed expression may do that the compiler would refuse or warn of.
const ALLOWED: &str = "#![allow(warnings, arithmetic_overflow, unconditional_panic)]\n";

const RUNTIME: &str = include_str!("../runtime/mutant.rs");

/// The sources that are looked at and their mutants.
pub struct Sources {
    /// By path from the root.
    pub texts: BTreeMap<String, String>,
    /// In order of number: directory by directory, each file from top to bottom.
    pub mutants: Vec<Mutant>,
}

impl Sources {
    /// # Errors
    /// When a file cannot be read or is not Rust.
    pub fn read(root: &Path) -> io::Result<Self> {
        let (mut texts, mut mutants) = (BTreeMap::new(), Vec::new());
        for directory in DIRECTORIES {
            for file in files_of(root, directory)? {
                let text = fs::read_to_string(root.join(&file))?;
                let first = u32::try_from(mutants.len()).map_err(io::Error::other)? + 1;
                mutants.extend(finder::find(&file, &text, first).map_err(|error| not_rust(&file, &error))?);
                texts.insert(file, text);
            }
        }
        Ok(Self { texts, mutants })
    }

    /// The key of a mutant, which outlives a change of other files, and of the unit tests at the end of its own.
    pub fn key(&self, mutant: &Mutant) -> String {
        let code = |text: &String| hash(text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text));
        mutant.key(self.texts.get(&mutant.file).map_or(0, code))
    }

    /// The text of a file with all of its mutants but these.
    pub fn rewritten(&self, file: &str, without: &BTreeSet<u32>) -> Rewritten {
        let of_file = self.mutants.iter().filter(|mutant| mutant.file == file && !without.contains(&mutant.number));
        rewrite(&self.texts[file], &of_file.collect::<Vec<_>>())
    }
}

/// FNV-1a: tells one state of a file from another.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The Rust files under a directory, without modules that are only for tests or features.
fn files_of(root: &Path, directory: &str) -> io::Result<Vec<String>> {
    let mut left_out = BTreeSet::new();
    let module = root.join(directory).join("mod.rs");
    if module.exists() {
        left_out.extend(finder::left_out(&fs::read_to_string(&module)?).map_err(|error| not_rust(directory, &error))?);
    }
    let mut found = Vec::new();
    for entry in sorted(&root.join(directory))? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = name.strip_suffix(".rs").unwrap_or(&name);
        if left_out.contains(stem) {
            continue;
        }
        let path = format!("{directory}/{name}");
        if entry.is_dir() {
            found.extend(files_of(root, &path)?);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    Ok(found)
}

fn sorted(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries: Vec<_> = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    Ok(entries)
}

fn not_rust(file: &str, error: &syn::Error) -> io::Error {
    io::Error::other(format!("{file}: {error}"))
}

/// Brings the copy up to date. Files that are as they should be stay untouched, so that nothing is compiled twice.
///
/// # Errors
/// When something cannot be read or written.
pub fn copy(root: &Path, to: &Path, scratch: &Path, sources: &Sources) -> io::Result<()> {
    // Written elsewhere, since their copies differ on purpose.
    let mut rewritten: BTreeSet<PathBuf> = sources.texts.keys().map(|file| root.join(file)).collect();
    rewritten.insert(root.join("src/lib.rs"));
    copy_directory(root, to, scratch, &rewritten)?;
    write(&to.join("src/mutant.rs"), RUNTIME.as_bytes())?;
    let library = fs::read_to_string(root.join("src/lib.rs"))?;
    write(&to.join("src/lib.rs"), format!("{ALLOWED}{library}\nmod mutant;\n").as_bytes())?;
    // Test programs that compile files of the engine once more need the switch as well.
    for test in sorted(&to.join("tests"))?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let text = fs::read_to_string(&test)?;
        if text.contains("#[path = \"../src/") && !text.contains("mod mutant;") {
            write(&test, format!("{text}\n#[path = \"../src/mutant.rs\"]\nmod mutant;\n").as_bytes())?;
        }
    }
    Ok(())
}

fn copy_directory(from: &Path, to: &Path, scratch: &Path, rewritten: &BTreeSet<PathBuf>) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in sorted(from)? {
        let name = entry.file_name().unwrap_or_default();
        if NOT_COPIED.iter().any(|left_out| name == *left_out) || entry == scratch {
            continue;
        }
        let to = to.join(name);
        if entry.is_dir() {
            copy_directory(&entry, &to, scratch, rewritten)?;
        } else if !rewritten.contains(&entry) {
            write(&to, &fs::read(&entry)?)?;
        }
    }
    Ok(())
}

/// Writes what differs from what is there.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)
}
