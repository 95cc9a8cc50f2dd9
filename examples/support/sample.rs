//! Loads the sample data of `examples/data`: three tenants' texts and questions, with their embeddings.
//!
//! Shared by the quickstart and the tests, each of which mounts this file as a module and uses only part of it.
#![allow(dead_code, unreachable_pub)]

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use half::f16;

/// The number of components of every sample vector.
pub const DIMENSIONS: usize = 384;

/// The tenants of which there is a sample.
pub const TENANTS: [&str; 3] = ["acme-zoo", "harbor-tools", "green-garden"];

/// One tenant's rows: `vectors[i]` is the embedding of `texts[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The texts, each "word: definition".
    pub texts: Vec<String>,
    /// The embeddings, each of [`DIMENSIONS`] components and of length 1.
    pub vectors: Vec<Vec<f32>>,
}

/// A question that is not itself a row of any sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The tenant in whose sample the answer is found.
    pub tenant: String,
    /// The text of the question.
    pub text: String,
    /// Its embedding, of [`DIMENSIONS`] components and of length 1.
    pub vector: Vec<f32>,
}

/// Loads the sample of `tenant`, one of [`TENANTS`].
///
/// # Errors
///
/// [`ErrorKind::NotFound`] when there is no such sample, [`ErrorKind::InvalidData`] when its files are damaged or
/// disagree with each other, and whatever error reading them gives.
pub fn load(tenant: &str) -> Result<Sample> {
    if !TENANTS.contains(&tenant) {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no sample of a tenant {tenant:?}")));
    }
    load_from(&directory(), tenant)
}

/// Loads the questions, in the order of the file.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`] when the files are damaged or disagree with each other, and whatever error reading them
/// gives.
pub fn questions() -> Result<Vec<Question>> {
    let Sample { texts, vectors } = load_from(&directory(), "questions")?;
    texts
        .iter()
        .zip(vectors)
        .map(|(line, vector)| match line.split_once('\t') {
            Some((tenant, text)) => Ok(Question { tenant: tenant.to_owned(), text: text.to_owned(), vector }),
            None => Err(invalid(format!("questions.tsv: a line without a tab: {line:?}"))),
        })
        .collect()
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join("data")
}

/// Reads `<name>.tsv` and `<name>.f16` and checks that they have the same number of rows.
fn load_from(directory: &Path, name: &str) -> Result<Sample> {
    let path = directory.join(format!("{name}.tsv"));
    let texts: Vec<String> =
        std::fs::read_to_string(&path).map_err(|e| at(&path, &e))?.lines().map(str::to_owned).collect();
    let path = directory.join(format!("{name}.f16"));
    let bytes = std::fs::read(&path).map_err(|e| at(&path, &e))?;
    let expected = texts.len() * DIMENSIONS * size_of::<f16>();
    if bytes.len() != expected {
        return Err(invalid(format!(
            "{}: {} bytes, but the {} lines of {name}.tsv call for {expected}",
            path.display(),
            bytes.len(),
            texts.len()
        )));
    }
    let (halves, _) = bytes.as_chunks::<2>();
    let vectors = halves
        .chunks_exact(DIMENSIONS)
        .enumerate()
        .map(|(row, halves)| {
            widen(halves).ok_or_else(|| invalid(format!("{}: row {row} has no direction", path.display())))
        })
        .collect::<Result<_>>()?;
    Ok(Sample { texts, vectors })
}

/// Widens a row to `f32` and scales it to length 1, which rounding to `f16` has taken from it. `None` when that cannot
/// be done: the row is all zeros or not finite.
fn widen(halves: &[[u8; 2]]) -> Option<Vec<f32>> {
    let wide = || halves.iter().map(|&half| f16::from_le_bytes(half).to_f64());
    let norm = wide().map(|x| x * x).sum::<f64>().sqrt();
    #[allow(clippy::cast_possible_truncation)]
    (norm.is_finite() && norm > 0.0).then(|| wide().map(|x| (x / norm) as f32).collect())
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidData, message)
}

/// The same kind of error, with the path in its message.
fn at(path: &Path, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.display()))
}
