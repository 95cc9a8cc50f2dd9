//! How hard a recall tries.

use crate::error::{Error, Result};
use crate::limits::EF_SEARCH_MAX;

/// How hard a recall tries where an index answers approximately. Namespaces of fewer than 20,000 vectors
/// ([`IndexSettings::graph_from`](crate::IndexSettings::graph_from)) are searched exactly anyway and give the same answer under each.
///
/// ```
/// use watertight::{Effort, Recall};
///
/// let thorough = Recall::vector(&[0.1, 0.7]).effort(Effort::Breadth(400));
/// assert_eq!(Effort::default(), Effort::Balanced);
/// # let _ = thorough;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Effort {
    /// What finds 99 of 100 nearest neighbours on ordinary data, by the engine's
    /// [`ef_search`](crate::IndexSettings::ef_search).
    #[default]
    Balanced,
    /// Keeps this many candidates on the way (`ef_search`), 1 to 10,000.
    Breadth(u32),
    /// Looks at everything.
    Exact,
}

impl Effort {
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Breadth(0) => Err(Error::invalid("effort", "must keep at least one candidate")),
            Self::Breadth(breadth) if breadth > EF_SEARCH_MAX => {
                Err(Error::too_large("effort", EF_SEARCH_MAX as usize, breadth as usize))
            }
            Self::Balanced | Self::Breadth(_) | Self::Exact => Ok(()),
        }
    }
}
