//! Mutation testing by mutant schemata.
//!
//! A program that compiles the engine once for each mutant would take days. This one writes all mutants into a copy of the
//! sources, each beside its original behind a switch, compiles that once, and turns them on by number:
//!
//! 1. `finder` finds places that can be changed so that they still compile; `mutant` writes them in.
//! 2. `tree` keeps the copy, and `compile` leaves out the mutants that the compiler refuses.
//! 3. `suite` runs each test once with no mutant on and writes down which places it reaches.
//! 4. Each mutant then meets the tests that reach it, the fastest first, until one fails.
//! 5. `ledger` keeps what became of each, so that a run that was stopped goes on, and `report` prints it.

mod compile;
mod finder;
mod ledger;
mod mutant;
mod options;
mod report;
mod suite;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use compile::Compiler;
use ledger::{Fate, Ledger, Map};
use mutant::Mutant;
use options::Options;
use suite::{Ending, NEVER, SLOW, Suite, Test};
use tree::Sources;

/// How long a test may take with no mutant on.
const RECORDING_LIMIT: Duration = Duration::from_secs(300);
/// Tests that killed something of the same file are tried before all others: so many of them.
const KILLERS_TRIED: usize = 3;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n\n{}", options::USAGE);
            return ExitCode::FAILURE;
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> io::Result<()> {
    let began = Instant::now();
    let root = std::env::current_dir()?;
    fs::create_dir_all(&options.scratch)?;
    options.scratch = options.scratch.canonicalize()?;
    fs::create_dir_all(&options.target)?;
    options.target = options.target.canonicalize()?;
    let sources = Sources::read(&root)?;
    let mut ledger = Ledger::open(options.scratch.join("results"))?;
    if options.list || options.report {
        if options.list {
            let asked_for = sources.mutants.iter().filter(|mutant| options.is_asked_for(&mutant.file));
            asked_for.for_each(|mutant| println!("{} {mutant}", mutant.number));
        } else {
            print!("{}", report::report(&sources, &ledger, &options));
        }
        return Ok(());
    }

    let tree = options.scratch.join("tree");
    tree::copy(&root, &tree, &options.scratch, &sources)?;
    let compiler = Compiler { tree: &tree, target: &options.target };
    let is_unbuildable = |mutant: &&Mutant| ledger.fate(&sources.key(mutant)) == Some(&Fate::Unbuildable);
    let mut dropped: BTreeSet<u32> =
        sources.mutants.iter().filter(is_unbuildable).map(|mutant| mutant.number).collect();
    let known = dropped.clone();
    compiler.settle(&sources, &mut dropped)?;
    for mutant in
        sources.mutants.iter().filter(|mutant| dropped.contains(&mutant.number) && !known.contains(&mutant.number))
    {
        ledger.add(sources.key(mutant), Fate::Unbuildable)?;
    }
    println!("{} mutants, {} of them unbuildable", sources.mutants.len(), dropped.len());

    let programs = compiler.build(&test_programs(&root, options.slow)?)?;
    let suite = Suite::new(&tree, &options.scratch, programs);
    let map = record(&suite, &sources, &options)?;
    let order =
        sources.mutants.iter().filter(|mutant| options.is_asked_for(&mutant.file) && !dropped.contains(&mutant.number));
    let hunt = Hunt { suite: &suite, map: &map, sources: &sources, options: &options, began };
    hunt.run(order.collect(), &mut ledger)?;
    print!("{}", report::report(&sources, &ledger, &options));
    Ok(())
}

/// The integration tests to build.
fn test_programs(root: &Path, slow: bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("tests"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_left_out = NEVER.contains(&name.as_str()) || (!slow && SLOW.contains(&name.as_str()));
        if path.extension().is_some_and(|end| end == "rs") && !is_left_out {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Fills the map with the tests that it does not have. It belongs to one numbering of the mutants.
fn record(suite: &Suite<'_>, sources: &Sources, options: &Options) -> io::Result<Map> {
    let numbering = sources.mutants.iter().map(|mutant| sources.key(mutant)).collect::<String>();
    let mut map = Map::open(options.scratch.join(format!("map.{:016x}", tree::hash(&numbering))))?;
    map.forget(|test| options.record.contains(&test.program))?;
    for program in suite.programs.keys() {
        let names = suite.names(program)?;
        map.forget(|test| test.program == *program && !names.contains(&test.name))?;
        let missing: Vec<_> = names.iter().filter(|name| !map.has(program, name)).collect();
        for name in &missing {
            let test = suite.record(program, name, RECORDING_LIMIT)?;
            if !test.passes {
                println!("{program} {name} does not pass with no mutant on, and is left out");
            }
            map.add(test)?;
        }
        if !missing.is_empty() {
            println!("recorded {} tests of {program}", missing.len());
        }
    }
    Ok(map)
}

/// The mutants' way through the tests.
struct Hunt<'a> {
    suite: &'a Suite<'a>,
    map: &'a Map,
    sources: &'a Sources,
    options: &'a Options,
    began: Instant,
}

/// What the workers share.
struct Shared<'a> {
    waiting: std::vec::IntoIter<&'a Mutant>,
    ledger: &'a mut Ledger,
    /// For each file which tests have killed how many.
    killers: BTreeMap<&'a str, BTreeMap<(String, String), usize>>,
    done: usize,
    failed: Option<io::Error>,
}

impl<'a> Hunt<'a> {
    fn run(&self, mutants: Vec<&'a Mutant>, ledger: &mut Ledger) -> io::Result<()> {
        let waiting: Vec<_> = mutants.into_iter().filter(|mutant| self.is_open(mutant, ledger)).collect();
        let total = waiting.len();
        let shared = Shared { waiting: waiting.into_iter(), ledger, killers: BTreeMap::new(), done: 0, failed: None };
        let shared = Mutex::new(shared);
        thread::scope(|scope| {
            for worker in 0..self.options.jobs {
                let shared = &shared;
                scope.spawn(move || self.work(worker, shared, total));
            }
        });
        shared.into_inner().map_err(|_| io::Error::other("a worker panicked"))?.failed.map_or(Ok(()), Err)
    }

    /// Whether there is something left to find out.
    fn is_open(&self, mutant: &Mutant, ledger: &Ledger) -> bool {
        let covering = self.map.covering(mutant.number).len();
        match ledger.fate(&self.sources.key(mutant)) {
            None => true,
            Some(Fate::NotReached) => covering > 0,
            Some(Fate::Survived { met, .. }) => self.options.again || *met < self.most(covering),
            Some(Fate::Killed { .. } | Fate::TimedOut { .. } | Fate::Unbuildable) => false,
        }
    }

    /// How many tests a mutant meets of those that reach it.
    fn most(&self, covering: usize) -> usize {
        self.options.quick.map_or(covering, |quick| quick.min(covering))
    }

    fn work(&self, worker: usize, shared: &Mutex<Shared<'a>>, total: usize) {
        while self.options.budget.is_none_or(|budget| self.began.elapsed() < budget) {
            let Ok(mut state) = shared.lock() else { return };
            let Some(mutant) = state.waiting.next() else { return };
            let favourites = favourites(state.killers.get(mutant.file.as_str()));
            let met = match state.ledger.fate(&self.sources.key(mutant)) {
                Some(Fate::Survived { met, .. }) if !self.options.again => *met,
                _ => 0,
            };
            drop(state);
            let fate = self.judge(mutant, &favourites, met, worker);
            let Ok(mut state) = shared.lock() else { return };
            state.done += 1;
            let told = fate.and_then(|(fate, killer)| {
                println!("{}/{total} {mutant}: {fate}", state.done);
                if let Some(killer) = killer {
                    *state.killers.entry(&mutant.file).or_default().entry(killer).or_default() += 1;
                }
                state.ledger.add(self.sources.key(mutant), fate)
            });
            if let Err(error) = told {
                state.failed = Some(error);
                return;
            }
        }
    }

    /// Tries the tests one after the other, those first that were met already left out.
    fn judge(
        &self,
        mutant: &Mutant,
        favourites: &[(String, String)],
        met: usize,
        worker: usize,
    ) -> io::Result<(Fate, Option<(String, String)>)> {
        let covering = self.map.covering(mutant.number);
        if covering.is_empty() {
            return Ok((Fate::NotReached, None));
        }
        let of = covering.len();
        let most = self.most(of);
        let name = |test: &Test| (test.program.clone(), test.name.clone());
        let first = covering.iter().filter(|test| favourites.contains(&name(test)));
        let then = covering.iter().take(most).skip(met).filter(|test| !favourites.contains(&name(test)));
        for test in first.chain(then) {
            let by = format!("{} {}", test.program, test.name);
            match self.suite.judge(test, mutant.number, worker)? {
                Ending::Passed => {}
                Ending::Failed => return Ok((Fate::Killed { by }, Some(name(test)))),
                Ending::TooLong => return Ok((Fate::TimedOut { by }, None)),
            }
        }
        Ok((Fate::Survived { met: most, of }, None))
    }
}

/// The tests that killed most.
fn favourites(killers: Option<&BTreeMap<(String, String), usize>>) -> Vec<(String, String)> {
    let mut all: Vec<_> = killers.into_iter().flatten().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    all.into_iter().take(KILLERS_TRIED).map(|(test, _)| test.clone()).collect()
}
