//! The tests: which there are, which places each reaches, and what one says of a mutant.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::compile::Program;

/// Left out at first, because each takes long: survivors meet them with `--slow`.
pub const SLOW: [&str; 7] =
    ["concurrency", "crash", "expiry_model", "interrupted", "models", "recall_quality", "storm"];

/// Never run: they compile programs, count what the allocator does, or read the sources and run nothing of them.
pub const NEVER: [&str; 4] = ["allocations", "capability", "documentation", "layering"];

/// Memory that a test may ask for, in KiB: a mutant may take a bound away.
const MEMORY_KIB: u32 = 8 << 20;
/// Longest file that a test may write, in blocks of 512 bytes.
const FILE_BLOCKS: u32 = 4 << 20;

/// A test and what is known of it.
#[derive(Debug, Clone)]
pub struct Test {
    pub program: String,
    pub name: String,
    pub takes: Duration,
    /// Numbers of the mutants whose places it reaches.
    pub reaches: BTreeSet<u32>,
    /// Whether it passes with no mutant on. One that does not says nothing.
    pub passes: bool,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Passed,
    Failed,
    TooLong,
}

/// Runs tests, each in a process of its own.
pub struct Suite<'a> {
    pub tree: &'a Path,
    pub scratch: &'a Path,
    pub programs: BTreeMap<String, PathBuf>,
}

impl<'a> Suite<'a> {
    pub fn new(tree: &'a Path, scratch: &'a Path, programs: Vec<Program>) -> Self {
        let programs = programs.into_iter().map(|program| (program.name, program.path)).collect();
        Self { tree, scratch, programs }
    }

    /// The names of a program's tests.
    ///
    /// # Errors
    /// When it does not run.
    pub fn names(&self, program: &str) -> io::Result<Vec<String>> {
        let output = Command::new(&self.programs[program])
            .args(["--list", "--format", "terse"])
            .current_dir(self.tree)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// Runs a test with no mutant on and writes down what it reaches.
    ///
    /// # Errors
    /// When it cannot be started or its notes cannot be read.
    pub fn record(&self, program: &str, name: &str, limit: Duration) -> io::Result<Test> {
        let seen = self.scratch.join("seen");
        empty(&seen)?;
        let began = Instant::now();
        let ending = self.run(program, name, &[("WATERTIGHT_MUTANTS_SEEN", &seen.to_string_lossy())], limit, 0)?;
        let takes = began.elapsed();
        let mut reaches = BTreeSet::new();
        for entry in fs::read_dir(&seen)? {
            let text = fs::read_to_string(entry?.path())?;
            reaches.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        let (program, name) = (program.to_owned(), name.to_owned());
        Ok(Test { program, name, takes, reaches, passes: ending == Ending::Passed })
    }

    /// What a test says of a mutant. `worker` tells runs at the same time apart.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn judge(&self, test: &Test, mutant: u32, worker: usize) -> io::Result<Ending> {
        // Generous, since the machine may be busy: a test that hangs is rare, one that is slow is not.
        let limit = Duration::from_secs(15) + 10 * test.takes;
        self.run(&test.program, &test.name, &[("WATERTIGHT_MUTANT", &mutant.to_string())], limit, worker)
    }

    fn run(
        &self,
        program: &str,
        name: &str,
        environment: &[(&str, &str)],
        limit: Duration,
        worker: usize,
    ) -> io::Result<Ending> {
        let temporary = self.scratch.join(format!("tmp.{worker}"));
        empty(&temporary)?;
        let script = format!("ulimit -c 0; ulimit -v {MEMORY_KIB}; ulimit -f {FILE_BLOCKS}; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(&self.programs[program]);
        command.args(["--exact", name, "--test-threads=1", "--quiet"]).current_dir(self.tree);
        command.env("TMPDIR", &temporary).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(if status.success() { Ending::Passed } else { Ending::Failed });
            }
            if began.elapsed() > limit {
                end(&mut child)?;
                return Ok(Ending::TooLong);
            }
            // Most tests take milliseconds.
            thread::sleep((began.elapsed() / 20).clamp(Duration::from_micros(500), Duration::from_millis(20)));
        }
    }
}

/// Ends a test with the processes that it started, which are one group.
fn end(child: &mut Child) -> io::Result<()> {
    Command::new("kill").args(["-9", "--", &format!("-{}", child.id())]).status()?;
    child.wait().map(|_| ())
}

/// An empty directory, whatever it held.
fn empty(directory: &Path) -> io::Result<()> {
    if directory.exists() {
        // What a test left may be without permissions.
        let _ = Command::new("chmod").args(["-R", "u+rwx"]).arg(directory).status();
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)
}
