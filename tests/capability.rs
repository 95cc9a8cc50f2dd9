//! Capabilities cannot be forged: programs that try do not compile, and their twins, which go the right way, do.
//!
//! Each refused program names the error it must end with, so that it cannot fail for another reason. Compiler
//! messages differ between releases, so only the error code is compared.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "capability/accepted.rs"]
mod accepted;

const INNER: &str = "WATERTIGHT_CAPABILITY_DIRECTORY";

fn refused() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/capability/refused");
    let mut found: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn every_refused_program_has_a_twin() {
    let names: Vec<_> = refused().iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let source = include_str!("capability/accepted.rs");
    let twins: Vec<_> = source.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(" {")).collect();
    assert_eq!(names, twins);
    assert!(names.len() >= 20);
}

#[test]
fn forgeries_do_not_compile() {
    if let Some(directory) = env::var_os(INNER) {
        let tests = trybuild::TestCases::new();
        tests.compile_fail(Path::new(&directory).join("*.rs"));
        return;
    }
    // The compiler's messages are written beside copies of the programs, not into the source tree.
    let directory = tempfile::tempdir().unwrap();
    for case in refused() {
        fs::copy(&case, directory.path().join(case.file_name().unwrap())).unwrap();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "forgeries_do_not_compile", "--nocapture"])
        .env(INNER, directory.path())
        .env("TRYBUILD", "overwrite")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let wrong: Vec<_> = refused().iter().filter_map(|case| other_refusal(case, directory.path())).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the compiler said, if it is not the one error that the program names in its first line.
fn other_refusal(case: &Path, messages: &Path) -> Option<String> {
    let name = case.file_name().unwrap();
    let source = fs::read_to_string(case).unwrap();
    let code = source.strip_prefix("//! ")?.split_once(':')?.0;
    let message = fs::read_to_string(messages.join(name).with_extension("stderr")).unwrap();
    let errors: Vec<_> = message.lines().filter(|line| line.starts_with("error[")).collect();
    let expected = !errors.is_empty() && errors.iter().all(|line| line.starts_with(&format!("error[{code}]")));
    (!expected).then(|| format!("{name:?} must end with {code} and nothing else:\n{message}"))
}
