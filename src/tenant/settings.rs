//! What a namespace is made with, and what of it can be changed.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::index::metric::Metric;
use crate::limits::{DESCRIPTION_BYTES_MAX, MODEL_BYTES_MAX, VECTOR_DIMENSIONS_MAX};
use crate::line::check_name;

/// What a namespace is made with. Metric, dimensions and model stay as they are; see [`NamespaceUpdate`] for the rest.
///
/// A namespace that is made by its first put has none of these: cosine, the dimensions of its first vector, the model
/// of the first vector that names one, no expiry.
///
/// ```
/// use std::time::Duration;
/// use watertight::{Metric, NamespaceSettings};
///
/// let settings = NamespaceSettings::new()
///     .metric(Metric::Dot)
///     .dimensions(384)
///     .model("all-MiniLM-L6-v2")
///     .expires_after(Duration::from_secs(30 * 24 * 3_600))
///     .description("What the support agent has learned this month.");
/// # let _ = settings;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamespaceSettings {
    pub(super) metric: Metric,
    pub(super) dimensions: Option<u32>,
    pub(super) model: Option<String>,
    pub(super) expires_after: Option<Duration>,
    pub(super) description: Option<String>,
}

impl NamespaceSettings {
    /// Cosine, and nothing else said.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How vectors are compared; cosine by default.
    #[must_use]
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// Dimensions of all vectors, 1 to 4,096; otherwise the first vector sets them.
    #[must_use]
    pub fn dimensions(mut self, dimensions: u32) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// The embedding model of all vectors, 1 to 128 bytes. Texts without a vector are embedded by the
    /// [`Embedder`](crate::Embedder) of this model, if one is configured.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// How long a memory lives after its last put unless it says otherwise; for ever by default.
    #[must_use]
    pub fn expires_after(mut self, life: Duration) -> Self {
        self.expires_after = Some(life);
        self
    }

    /// What the namespace is for, in at most 1,024 bytes.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        match self.dimensions {
            Some(0) => return Err(Error::invalid("vector dimensions", "must be at least 1")),
            Some(dimensions) if dimensions as usize > VECTOR_DIMENSIONS_MAX => {
                return Err(Error::too_large("vector dimensions", VECTOR_DIMENSIONS_MAX, dimensions as usize));
            }
            _ => {}
        }
        self.model.as_deref().map_or(Ok(()), check_model)?;
        self.expires_after.map_or(Ok(()), check_life)?;
        self.description.as_deref().map_or(Ok(()), check_description)
    }
}

/// Changes what can be changed of a namespace. What is not named stays.
///
/// ```
/// use std::time::Duration;
/// use watertight::NamespaceUpdate;
///
/// let update = NamespaceUpdate::new().description(None).expires_after(Some(Duration::from_secs(3_600)));
/// # let _ = update;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamespaceUpdate {
    pub(super) expires_after: Option<Option<Duration>>,
    pub(super) description: Option<Option<String>>,
}

impl NamespaceUpdate {
    /// Changes nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long memories put from now on live unless they say otherwise; `None` for ever. What was put before keeps
    /// its expiry.
    #[must_use]
    pub fn expires_after(mut self, life: Option<Duration>) -> Self {
        self.expires_after = Some(life);
        self
    }

    /// What the namespace is for, in at most 1,024 bytes.
    #[must_use]
    pub fn description(mut self, description: Option<String>) -> Self {
        self.description = Some(description);
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        self.expires_after.flatten().map_or(Ok(()), check_life)?;
        self.description.iter().flatten().map(String::as_str).try_for_each(check_description)
    }
}

/// The id of a model: a name, which errors tell.
pub(super) fn check_model(model: &str) -> Result<()> {
    check_name("model", model, MODEL_BYTES_MAX)
}

/// Less than a microsecond would be no life at all: the clock counts microseconds.
pub(super) fn check_life(life: Duration) -> Result<()> {
    if life.as_micros() == 0 { Err(Error::invalid("expiry", "must be at least a microsecond")) } else { Ok(()) }
}

fn check_description(description: &str) -> Result<()> {
    if description.len() > DESCRIPTION_BYTES_MAX {
        return Err(Error::too_large("description", DESCRIPTION_BYTES_MAX, description.len()));
    }
    Ok(())
}
