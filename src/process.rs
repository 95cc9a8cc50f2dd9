//! The process that an engine belongs to. A fork copies the engine's memory, but not its threads, and both processes
//! would write the same files by what each remembers of them. So what was opened before a fork is refused after it.

use std::process;

use crate::error::{Reason, Result};

/// The process in which something was opened.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    id: u32,
    /// Learns of a fork without asking the operating system, which takes longer than the rest of the gate. Absent where the
    /// C library does not tell of forks.
    guard: Option<forkguard::Guard>,
}

impl Default for Process {
    fn default() -> Self {
        Self::this()
    }
}

impl Process {
    /// The process that runs now.
    pub(crate) fn this() -> Self {
        Self { id: process::id(), guard: forkguard::Guard::try_new().ok() }
    }

    /// Refuses everything after a fork. It takes no lock: the thread that held one at the fork is not here to release it.
    ///
    /// # Errors
    /// `Unavailable` in another process.
    pub(crate) fn check(&self) -> Result<()> {
        if self.has_forked() { Err(Reason::Forked.into()) } else { Ok(()) }
    }

    /// As [`Process::check`], by asking the operating system. It also knows of forks that go around the C library.
    pub(crate) fn check_by_id(&self) -> Result<()> {
        if self.is_another() { Err(Reason::Forked.into()) } else { Ok(()) }
    }

    pub(crate) fn is_another(&self) -> bool {
        self.has_forked() || process::id() != self.id
    }

    fn has_forked(&self) -> bool {
        // The guard tells of a fork once; its copy tells each time.
        self.guard.as_ref().map_or_else(|| process::id() != self.id, |guard| guard.clone().detected_fork())
    }
}
