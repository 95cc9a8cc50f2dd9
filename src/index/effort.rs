//! How hard a recall tries.

use crate::error::{Error, Result};
use crate::limits::EF_SEARCH_MAX;

/// How hard a recall tries where an index answers approximately. An index that is exact anyway, as every one of this
/// release is, gives the same answer under each.
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
    /// What finds 99 of 100 nearest neighbours on ordinary data.
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
