//! Embedders turn texts into vectors, so that text goes in and questions come out without any.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::vector::GivenVector;
use crate::error::{Error, Reason, Result};
use crate::limits::{MODEL_BYTES_MAX, VECTOR_DIMENSIONS_MAX};

/// Turns texts into vectors. The application implements it over whatever model it uses.
///
/// It is called on the thread of the operation that needs it, before that operation waits for its turn; inside a
/// transaction it is called while others wait.
///
/// ```
/// use watertight::{EmbedError, Embedder};
///
/// #[derive(Debug)]
/// struct Lengths;
///
/// impl Embedder for Lengths {
///     fn model(&self) -> &str {
///         "lengths"
///     }
///     fn dimensions(&self) -> u32 {
///         2
///     }
///     fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
///         if texts.iter().any(|text| text.is_empty()) {
///             return Err(EmbedError::Refused);
///         }
///         Ok(texts.iter().map(|text| vec![text.len() as f32, 1.0]).collect())
///     }
/// }
/// assert_eq!(Lengths.embed(&["abc"]).unwrap(), [[3.0, 1.0]]);
/// assert_eq!(Lengths.embed(&[""]), Err(EmbedError::Refused));
/// ```
pub trait Embedder: Send + Sync + fmt::Debug {
    /// The id of the model: what a namespace names to have its texts embedded. It must change when the vectors do.
    fn model(&self) -> &str;

    /// Dimensions of every vector.
    fn dimensions(&self) -> u32;

    /// Most texts of one call; 64 unless it says otherwise.
    fn batch_max(&self) -> usize {
        64
    }

    /// One vector for each text, in their order.
    ///
    /// # Errors
    /// See [`EmbedError`]. The operation that asked fails with it, and changes nothing.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError>;
}

/// Why an embedder gave no vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmbedError {
    /// It cannot serve now; the operation answers `RetryLater`.
    Unavailable {
        /// How long to wait, where that is known.
        retry_after: Option<Duration>,
    },
    /// It will never embed one of these texts; the operation answers `InvalidInput`.
    Refused,
}

impl fmt::Display for EmbedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable { .. } => "the embedder cannot serve now",
            Self::Refused => "the embedder refused the text",
        })
    }
}

impl std::error::Error for EmbedError {}

/// The embedders of an engine, by model.
#[derive(Debug, Default)]
pub(crate) struct Embedders(HashMap<String, Arc<dyn Embedder>>);

impl Embedders {
    /// # Errors
    /// `InvalidInput` when two are of one model, or one says of itself what cannot be.
    pub(crate) fn new(embedders: Vec<Arc<dyn Embedder>>) -> Result<Self> {
        let mut by_model = HashMap::new();
        for embedder in embedders {
            let model = embedder.model().to_owned();
            if model.is_empty() || model.len() > MODEL_BYTES_MAX {
                return Err(Error::invalid("embedder", "its model must have 1 to 128 bytes"));
            }
            if embedder.dimensions() == 0 || embedder.dimensions() as usize > VECTOR_DIMENSIONS_MAX {
                return Err(Error::invalid("embedder", "its vectors must have 1 to 4,096 dimensions"));
            }
            if embedder.batch_max() == 0 {
                return Err(Error::invalid("embedder", "it must take at least one text at a time"));
            }
            if by_model.insert(model, embedder).is_some() {
                return Err(Error::invalid("embedders", "two of them are of the same model"));
            }
        }
        Ok(Self(by_model))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, model: &str) -> bool {
        self.0.contains_key(model)
    }

    /// One vector for each text, all of them good for an index.
    ///
    /// # Errors
    /// `InvalidInput` when there is no embedder of this model or it refuses a text, `RetryLater` when it cannot serve
    /// now, `Unavailable` when what it answers is not what it says of itself.
    pub(crate) fn embed(&self, model: &str, texts: &[&str]) -> Result<Vec<GivenVector>> {
        let embedder = self.0.get(model).ok_or_else(|| Reason::NoEmbedder { model: Some(model.to_owned()) })?;
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(embedder.batch_max().max(1)) {
            let answer = embedder.embed(batch).map_err(|error| match error {
                EmbedError::Refused => Error::from(Reason::EmbedderRefused),
                EmbedError::Unavailable { retry_after } => {
                    let error = Error::from(Reason::EmbedderUnavailable);
                    retry_after.into_iter().fold(error, Error::after)
                }
            })?;
            if answer.len() != batch.len() {
                return Err(Reason::EmbedderFaulty("it gave another number of vectors than it got texts").into());
            }
            for vector in answer {
                let vector = GivenVector::new(&vector)
                    .map_err(|_| Reason::EmbedderFaulty("it gave a vector that is empty, too long or not finite"))?;
                if vector.dimensions() != embedder.dimensions() {
                    return Err(Reason::EmbedderFaulty("it gave a vector of other dimensions than it says").into());
                }
                vectors.push(vector);
            }
        }
        Ok(vectors)
    }
}
