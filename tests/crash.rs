//! Power loss at any moment: what was acknowledged is there, what was not is all or nothing, and nothing of a
//! tenant that was purged comes back.
//!
//! The simulated disk drops, reorders, tears and scrambles whatever was not synced. Each test prints its seed when
//! it fails.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use support::rng::Rng;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{ErrorKind, List, Memory, Recall, TenantId, TenantStatus};

const DATA: &str = "/data";
const NAMES: [&str; 4] = ["acme", "acme-evil", "Acme", "zoo"];

/// Key -> text length and filler; small, so that it clones with every image.
type Rows = BTreeMap<String, (usize, u8)>;

/// What was acknowledged.
#[derive(Clone, Debug, Default)]
struct Model {
    tenants: BTreeMap<&'static str, Tenant>,
}

#[derive(Clone, Debug, Default)]
struct Tenant {
    suspended: bool,
    rows: Rows,
}

/// What was under way when the power went.
#[derive(Clone, Debug)]
enum Step {
    Provision(&'static str),
    Purge(&'static str),
    Suspend(&'static str, bool),
    Rekey(&'static str),
    Put(&'static str, String, (usize, u8)),
    Delete(&'static str, String),
}

impl Model {
    fn after(&self, step: &Step) -> Self {
        let mut next = self.clone();
        match step {
            Step::Provision(tenant) => {
                next.tenants.insert(tenant, Tenant::default());
            }
            Step::Purge(tenant) => {
                next.tenants.remove(tenant);
            }
            Step::Suspend(tenant, suspended) => next.tenants.get_mut(tenant).unwrap().suspended = *suspended,
            // It shows nowhere.
            Step::Rekey(_) => {}
            Step::Put(tenant, key, row) => {
                next.tenants.get_mut(tenant).unwrap().rows.insert(key.clone(), *row);
            }
            Step::Delete(tenant, key) => {
                next.tenants.get_mut(tenant).unwrap().rows.remove(key);
            }
        }
        next
    }
}

fn text((length, filler): (usize, u8)) -> String {
    char::from(b'a' + filler % 26).to_string().repeat(length)
}

fn vector(key: &str) -> Vec<f32> {
    key.bytes().chain([1; 8]).take(8).map(f32::from).collect()
}

/// The next step that makes sense for the model.
fn choose(rng: &mut Rng, model: &Model) -> Step {
    loop {
        let name = NAMES[rng.below(NAMES.len() as u64) as usize];
        let Some(tenant) = model.tenants.get(name) else {
            return Step::Provision(name);
        };
        match rng.below(25) {
            0 => return Step::Purge(name),
            1 => return Step::Suspend(name, !tenant.suspended),
            2 => return Step::Rekey(name),
            _ if tenant.suspended => {}
            3..=7 if !tenant.rows.is_empty() => {
                let at = rng.below(tenant.rows.len() as u64) as usize;
                return Step::Delete(name, tenant.rows.keys().nth(at).unwrap().clone());
            }
            roll => {
                // Mostly small rows; some that make the file grow.
                let length = if roll > 20 { 150_000 + rng.below(400_000) } else { 1 + rng.below(3_000) };
                let key = format!("key {}", rng.below(40));
                return Step::Put(name, key, (length as usize, rng.below(26) as u8));
            }
        }
    }
}

fn perform(world: &World, step: &Step) -> watertight::Result<()> {
    let id = |name: &str| TenantId::new(name).unwrap();
    let notes = |name: &str| world.handle(name, "alice")?.memories("notes");
    match step {
        Step::Provision(name) => world.provision(name),
        Step::Purge(name) => world.operator().purge(&id(name)).map(|_| ()),
        Step::Suspend(name, true) => world.operator().suspend(&id(name)),
        Step::Suspend(name, false) => world.operator().resume(&id(name)),
        Step::Rekey(name) => world.operator().rekey(&id(name), |_| std::ops::ControlFlow::Continue(())).map(|_| ()),
        Step::Put(name, key, row) => {
            notes(name)?.put(Memory::new(key).text(text(*row)).vector(vector(key))).map(|_| ())
        }
        Step::Delete(name, key) => notes(name)?.delete(key),
    }
}

/// Whether the engine shows exactly this model. An error of the engine is a failure, not a "no".
fn shows(world: &World, disk: &SimDisk, model: &Model) -> Result<(), String> {
    let listed = world.operator().list(None, 1_000).map_err(|error| format!("list: {error}"))?;
    let expected: Vec<_> = model.tenants.keys().copied().collect();
    let mut found: Vec<_> = listed.iter().map(|info| info.tenant.as_str().to_owned()).collect();
    found.sort();
    let mut sorted = expected.clone();
    sorted.sort_unstable();
    if found != sorted {
        return Err(format!("tenants {found:?} instead of {sorted:?}"));
    }
    world.operator().verify_audit().map_err(|error| format!("operator audit: {error}"))?;
    for info in &listed {
        let name = info.tenant.as_str();
        let tenant = &model.tenants[name];
        let status = if tenant.suspended { TenantStatus::Suspended } else { TenantStatus::Active };
        if info.status != status {
            return Err(format!("{name} is {:?}", info.status));
        }
        if tenant.suspended {
            continue;
        }
        let handle = world.handle(name, "alice").map_err(|error| format!("open {name}: {error}"))?;
        shows_rows(&handle, &tenant.rows).map_err(|why| format!("{name}: {why}"))?;
    }
    // Four files of the engine and two of each tenant: nothing is left over, and nothing is missing.
    let files = disk.files();
    if files.len() != 4 + 2 * model.tenants.len() {
        return Err(format!("files {files:?} for {sorted:?}"));
    }
    Ok(())
}

fn shows_rows(handle: &watertight::TenantHandle, rows: &Rows) -> Result<(), String> {
    let notes = handle.memories("notes").unwrap();
    let mut found = Rows::new();
    let mut list = List::new().limit(7);
    loop {
        let page = notes.list(&list).map_err(|error| format!("list: {error}"))?;
        for memory in page.memories {
            let text = memory.text.unwrap();
            let filler = text.as_bytes()[0];
            if text.bytes().any(|byte| byte != filler) {
                return Err(format!("{} is mixed", memory.key));
            }
            found.insert(memory.key, (text.len(), filler - b'a'));
        }
        match page.next {
            Some(next) => list = List::new().limit(7).after(next),
            None => break,
        }
    }
    if found != *rows {
        return Err(format!("rows {found:?} instead of {rows:?}"));
    }
    let usage = handle.usage().map_err(|error| format!("usage: {error}"))?;
    let bytes: usize = rows.iter().map(|(key, (length, _))| key.len() + length + 32).sum();
    if (usage.memories, usage.vectors, usage.bytes) != (rows.len() as u64, rows.len() as u64, bytes as u64) {
        return Err(format!("{usage:?} for {} rows of {bytes} bytes", rows.len()));
    }
    handle.audit().verify().map_err(|error| format!("audit: {error}"))?;
    let hits = notes.recall(&Recall::vector(&vector("key 1")).top(100)).map_err(|error| format!("recall: {error}"))?;
    if hits.len() != rows.len() {
        return Err(format!("{} hits for {} rows", hits.len(), rows.len()));
    }
    Ok(())
}

/// Opens an image and holds it against the model before and after the step under way. Gives which of them it shows.
fn check(image: &SimDisk, model: &Model, step: Option<&Step>) -> Result<Model, String> {
    let world = World::open(Path::new(DATA), Arc::new(image.clone())).map_err(|error| format!("open: {error}"))?;
    let Err(before) = shows(&world, image, model) else { return Ok(model.clone()) };
    let Some(step) = step else { return Err(before) };
    let after = model.after(step);
    match shows(&world, image, &after) {
        Ok(()) => Ok(after),
        Err(why) => Err(format!("under way: {step:?}\nneither before: {before}\nnor after: {why}")),
    }
}

/// The acknowledged state and the step under way, as the crash hook sees them.
#[derive(Default)]
struct Watched {
    model: Model,
    step: Option<Step>,
    /// One for each image, in order.
    moments: Vec<(Model, Option<Step>)>,
}

/// Runs one history and checks an image at about one in `every` disk operations. Gives the number of images.
fn crash_everywhere(seed: u64, steps: usize, every: u64) -> usize {
    let disk = SimDisk::new(seed);
    let mut rng = Rng(seed ^ 0xC0FFEE);
    let world = World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap();
    let watched = Arc::new(Mutex::new(Watched::default()));
    let hook = {
        let watched = watched.clone();
        let mut dice = Rng(seed ^ 0xD1CE);
        move |_| {
            let fork = dice.below(every) == 0;
            if fork {
                let mut watched = watched.lock();
                let moment = (watched.model.clone(), watched.step.clone());
                watched.moments.push(moment);
            }
            fork
        }
    };
    disk.on_mutation(Some(Box::new(hook)));
    let mut images = 0;
    for number in 0..steps {
        let step = {
            let mut watched = watched.lock();
            let step = choose(&mut rng, &watched.model);
            watched.step = Some(step.clone());
            step
        };
        perform(&world, &step).unwrap_or_else(|error| panic!("seed {seed}, step {number} {step:?}: {error}"));
        let moments = {
            let mut watched = watched.lock();
            watched.model = watched.model.after(&step);
            watched.step = None;
            std::mem::take(&mut watched.moments)
        };
        for (image, (model, under_way)) in disk.take_images().into_iter().zip(moments) {
            images += 1 + check_twice(&image, &model, under_way.as_ref(), &mut rng)
                .unwrap_or_else(|why| panic!("seed {seed}, step {number}: {why}"));
        }
    }
    disk.on_mutation(None);
    drop(world);
    check(&disk, &watched.lock().model, None).unwrap_or_else(|why| panic!("seed {seed}, after a clean close: {why}"));
    images
}

/// Checks an image; on the way, the power fails again during recovery.
fn check_twice(image: &SimDisk, model: &Model, step: Option<&Step>, rng: &mut Rng) -> Result<usize, String> {
    let at = rng.below(60);
    let first = image.mutations();
    image.on_mutation(Some(Box::new(move |number| number.saturating_sub(first) == at)));
    let now = check(image, model, step)?;
    image.on_mutation(None);
    let again = image.take_images();
    for second in &again {
        // The recovery may already have finished or undone the step; it may not waver after it has shown a state.
        let settled = check(second, model, step).map_err(|why| format!("second crash: {why}"))?;
        check(second, &settled, None).map_err(|why| format!("reopened after the second crash: {why}"))?;
    }
    check(image, &now, None).map_err(|why| format!("reopened: {why}"))?;
    Ok(again.len())
}

fn run(seeds: std::ops::Range<u64>, at_least: usize) {
    let images: usize = seeds.map(|seed| crash_everywhere(seed, 60, 12)).sum();
    println!("{images} crash images");
    assert!(images >= at_least, "only {images} crash images");
}

#[test]
fn acknowledged_writes_survive_any_crash_first_half() {
    run(0..16, 2_500);
}

#[test]
fn acknowledged_writes_survive_any_crash_second_half() {
    run(100..116, 2_500);
}

#[test]
fn a_crash_while_the_directory_is_made_leaves_it_usable() {
    for seed in 0..300 {
        let disk = SimDisk::new(seed);
        let mut dice = Rng(seed);
        let at = dice.below(80);
        disk.on_mutation(Some(Box::new(move |number| number == at)));
        drop(World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap());
        for image in disk.take_images() {
            check(&image, &Model::default(), None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        }
    }
}

/// After a failed sync the cache still shows the bytes, and a later crash loses them. Whatever was answered must
/// hold in every crash image: during the failing commit, while the file is opened again, and after later commits.
#[test]
fn a_failed_sync_is_never_followed_by_a_false_acknowledgement() {
    let (mut failures, mut images) = (0, 0);
    for seed in 0..400 {
        let disk = SimDisk::new(seed);
        let mut rng = Rng(seed);
        let world = World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap();
        world.provision("acme").unwrap();
        let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
        let acknowledged = Arc::new(Mutex::new(Rows::new()));
        let moments = Arc::new(Mutex::new(Vec::new()));
        let hook = {
            let (acknowledged, moments) = (acknowledged.clone(), moments.clone());
            let dice = Arc::new(Mutex::new(Rng(seed ^ 0xD1CE)));
            move |_| {
                let fork = dice.lock().below(3) == 0;
                if fork {
                    moments.lock().push(acknowledged.lock().clone());
                }
                fork
            }
        };
        let mut tried = Rows::new();
        disk.fail_sync("data.1.redb", 4 + rng.below(8));
        for number in 0..10 {
            if number == 2 {
                disk.on_mutation(Some(Box::new(hook.clone())));
            }
            let key = format!("key {number}");
            let row = (1 + rng.below(9_000) as usize, number);
            tried.insert(key.clone(), row);
            match notes.put(Memory::new(&key).text(text(row)).vector(vector(&key))) {
                Ok(_) => drop(acknowledged.lock().insert(key, row)),
                Err(error) => {
                    let expected = matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Unavailable);
                    assert!(expected, "seed {seed}: {error}");
                    failures += 1;
                }
            }
        }
        let last = acknowledged.lock().clone();
        let forks = disk.take_images().into_iter().zip(std::mem::take(&mut *moments.lock()));
        let ends = [disk.crash(), disk.crash(), disk.kill()].into_iter().zip(std::iter::repeat(last));
        disk.on_mutation(None);
        for (image, expected) in forks.chain(ends) {
            images += 1;
            let again = World::open(Path::new(DATA), Arc::new(image)).unwrap();
            let notes = again.handle("acme", "alice").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let notes = notes.memories("notes").unwrap();
            for (key, row) in &expected {
                let found = notes.get(key).unwrap_or_else(|error| panic!("seed {seed}: {key} lost: {error}"));
                assert_eq!(found.text, Some(text(*row)), "seed {seed}");
            }
            for memory in notes.list(&List::new()).unwrap().memories {
                assert_eq!(memory.text, Some(text(tried[&memory.key])), "seed {seed}: half a write");
            }
        }
    }
    println!("{images} crash images after {failures} failed commits");
    assert!(failures >= 300 && images > 5_000, "{failures} failed commits, {images} images");
}

/// Where it cannot be confirmed that the cache was dropped, nothing read from it can be trusted: the tenant is
/// quarantined, the others go on.
#[test]
fn an_unconfirmed_eviction_quarantines_that_tenant_alone() {
    let disk = SimDisk::new(1);
    let world = World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap();
    world.provision("acme").unwrap();
    world.provision("zoo").unwrap();
    let acme = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    let zoo = world.handle("zoo", "alice").unwrap().memories("notes").unwrap();
    acme.put(Memory::new("before")).unwrap();
    disk.evict_is_confirmed(false);
    disk.fail_sync("data.1.redb", 0);
    assert_eq!(acme.put(Memory::new("k")).unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(*acme.get("before").unwrap_err().reason(), watertight::Reason::Quarantined);
    assert_eq!(*acme.put(Memory::new("k")).unwrap_err().reason(), watertight::Reason::Quarantined);
    zoo.put(Memory::new("k")).unwrap();
    zoo.get("k").unwrap();
    drop((acme, zoo, world));
    let image = disk.crash();
    let world = World::open(Path::new(DATA), Arc::new(image)).unwrap();
    world.handle("acme", "alice").unwrap().memories("notes").unwrap().get("before").unwrap();
}
