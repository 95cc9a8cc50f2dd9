//! What a process can do so that its memory, with the keys in it, does not become a file.

/// What [`harden_process`] could do. False also where the platform does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Hardening {
    /// The process writes no core file, and neither do processes that it starts.
    pub no_core_dumps: bool,
    /// No other process of the same user may read its memory or attach a debugger, and no crash handler gets a dump of
    /// it. Linux alone has this; it ends when the process runs another program.
    pub not_dumpable: bool,
}

/// Keeps the memory of this process, in which there are keys, from being written to a file or read by another process of
/// the same user. It concerns the whole process, so the engine never does it by itself: call it at the start of `main`.
/// Debuggers and profilers do not work afterwards. It does not keep memory from being swapped out, and does not hold
/// against root.
///
/// ```
/// let done = watertight::harden_process();
/// assert_eq!(done.no_core_dumps, cfg!(unix));
/// assert_eq!(done.not_dumpable, cfg!(any(target_os = "linux", target_os = "android")));
/// ```
pub fn harden_process() -> Hardening {
    let done = Hardening { no_core_dumps: forbid_core_files(), not_dumpable: forbid_dumps() };
    tracing::debug!(?done, "hardening the process");
    done
}

#[cfg(unix)]
fn forbid_core_files() -> bool {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // The hard limit as well, so that nobody raises it again.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).is_ok()
}

#[cfg(not(unix))]
fn forbid_core_files() -> bool {
    false
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn forbid_dumps() -> bool {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn forbid_dumps() -> bool {
    false
}
