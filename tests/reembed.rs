//! Replacing a namespace's vectors by those of another model: the old ones serve until the switch, nothing that happens
//! meanwhile is lost, and a crash loses no more than a step.

mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::rng::Rng;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    AuditAction, Effort, ErrorKind, List, Memories, Memory, MemoryRecord, Recall, Result, TestClock, Timestamp,
};

const DATA: &str = "/data";

/// Model a: two dimensions. Model b: three, another order of everything.
fn old_vector(text: &str) -> Vec<f32> {
    let n = number(text);
    vec![n.cos(), n.sin()]
}

fn new_vector(text: &str) -> Vec<f32> {
    let n = number(text);
    vec![(n * 7.0).sin(), (n * 3.0).cos(), 0.5]
}

fn number(text: &str) -> f32 {
    text.bytes().fold(0.0, |sum, byte| (sum * 31.0 + f32::from(byte)) % 101.0) / 20.0
}

fn embed(memories: &[MemoryRecord]) -> Result<Vec<Option<Vec<f32>>>> {
    Ok(memories.iter().map(|memory| memory.text.as_deref().map(new_vector)).collect())
}

struct Scene {
    world: World,
    notes: Memories,
    clock: Arc<TestClock>,
}

fn scene(disk: &SimDisk, clock: &Arc<TestClock>) -> Scene {
    let world = World::with_clock(Path::new(DATA), Arc::new(disk.clone()), clock.clone()).unwrap();
    match world.provision("acme") {
        Ok(()) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
    }
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    Scene { world, notes, clock: clock.clone() }
}

fn clock() -> Arc<TestClock> {
    TestClock::at(Timestamp::from_seconds(1_800_000_000))
}

fn memory(key: &str, text: &str) -> Memory {
    Memory::new(key).text(text).vector(old_vector(text))
}

fn fill(notes: &Memories, model: &mut BTreeMap<String, String>, count: usize) {
    let texts: Vec<(String, String)> = (0..count).map(|n| (format!("key {n:04}"), format!("text {n}"))).collect();
    notes.put_many(texts.iter().map(|(key, text)| memory(key, text).model("a")).collect()).unwrap();
    model.extend(texts);
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The nearest three are as near as they should be, by the vectors that memories have now. Many texts have the same.
fn check(notes: &Memories, model: &BTreeMap<String, String>, vector: impl Fn(&str) -> Vec<f32>) {
    let query = vector("a question");
    let mut truth: Vec<f64> = model.values().map(|text| cosine(&vector(text), &query)).collect();
    truth.sort_by(|a, b| b.total_cmp(a));
    let hits = notes.recall(&Recall::vector(&query).top(3).effort(Effort::Exact)).unwrap();
    let all = notes.recall(&Recall::vector(&query).top(5_000)).unwrap();
    let missing: Vec<_> = model.iter().filter(|(key, _)| !all.iter().any(|hit| hit.memory.key == **key)).collect();
    let extra: Vec<_> = all.iter().filter(|hit| !model.contains_key(&hit.memory.key)).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{} {} of {}: {missing:?}, {extra:?}",
        all.len(),
        missing.len(),
        model.len()
    );
    assert_eq!(hits.len(), truth.len().min(3));
    for (hit, truth) in hits.iter().zip(truth) {
        let text = &model[&hit.memory.key];
        assert_eq!(hit.memory.text.as_ref(), Some(text));
        let score = cosine(&vector(text), &query);
        assert!(
            (score - truth).abs() < 1e-6 && (score - f64::from(hit.score)).abs() < 1e-6,
            "{score}, {truth}, {hit:?}"
        );
    }
}

fn is_old(notes: &Memories, model: &BTreeMap<String, String>) {
    check(notes, model, old_vector);
    assert_eq!(notes.info().unwrap().dimensions, Some(2));
}

fn is_new(notes: &Memories, model: &BTreeMap<String, String>) {
    check(notes, model, new_vector);
    let info = notes.info().unwrap();
    assert_eq!((info.dimensions, info.model.as_deref()), (Some(3), Some("b")));
    // Vectors of the old model are refused.
    assert_eq!(notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn old_vectors_serve_until_the_switch_and_what_happens_meanwhile_is_kept() {
    for seed in 0..6 {
        let (disk, rng) = (SimDisk::new(seed), &mut Rng(seed));
        let mut scene = scene(&disk, &clock());
        let mut model = BTreeMap::new();
        fill(&scene.notes, &mut model, 450);
        let (mut steps, mut expiring) = (0, BTreeMap::new());
        loop {
            // Whatever a user does between two steps.
            for _ in 0..rng.below(12) {
                let key = format!("key {:04}", rng.below(500));
                let text = format!("text {}", rng.below(9_999));
                match rng.below(5) {
                    0 | 1 => {
                        scene.notes.put(memory(&key, &text)).unwrap();
                        expiring.remove(&key);
                        model.insert(key, text);
                    }
                    2 if model.remove(&key).is_some() => {
                        scene.notes.delete(&key).unwrap();
                        expiring.remove(&key);
                    }
                    3 if seed % 2 == 0 => {
                        let end = 1_800_000_000 + 10 * steps + rng.below(60);
                        let expires_at = Timestamp::from_seconds(end);
                        scene.notes.put(memory(&key, &text).expires_at(expires_at)).unwrap();
                        expiring.insert(key.clone(), end);
                        model.insert(key, text);
                    }
                    _ => {}
                }
            }
            steps += 1;
            let now = 1_800_000_000 + 10 * steps;
            scene.clock.set(Timestamp::from_seconds(now));
            let gone: Vec<String> =
                expiring.iter().filter(|(_, end)| **end <= now).map(|(key, _)| key.clone()).collect();
            gone.iter().for_each(|key| drop((model.remove(key), expiring.remove(key))));
            is_old(&scene.notes, &model);
            // The clock of an engine that was killed may go on a little later, which is not what is tested here.
            if seed % 2 == 1 && rng.below(3) == 0 {
                // Killed: what was not synced may be gone, but every step was.
                let image = disk.kill();
                drop(scene.world);
                scene = self::scene(&image, &scene.clock);
                is_old(&scene.notes, &model);
                let progress = scene.notes.reembedding("b").unwrap().step(embed).unwrap();
                if progress.finished {
                    is_new(&scene.notes, &model);
                }
                // The rest of the test goes on with the image.
                let rest = finish(&scene.notes);
                assert!(rest < 20, "seed {seed}");
                is_new(&scene.notes, &model);
                break;
            }
            if scene.notes.reembedding("b").unwrap().step(embed).unwrap().finished {
                is_new(&scene.notes, &model);
                break;
            }
        }
        // It stays so, and everything of the old model is cleared away in time.
        let tenant = scene.world.handle("acme", "alice").unwrap();
        while tenant.sweep().unwrap().more {}
        is_new(&scene.notes, &model);
        let trail = tenant.audit().entries(1, 100_000).unwrap();
        let told = |action| trail.iter().filter(|entry| entry.action == action).count();
        assert_eq!((told(AuditAction::BeginReembedding), told(AuditAction::FinishReembedding)), (1, 1));
        scene.notes.put(Memory::new("late").text("late").vector(new_vector("late")).model("b")).unwrap();
        model.insert("late".to_owned(), "late".to_owned());
        is_new(&scene.notes, &model);
        assert_eq!(scene.notes.list(&List::new().limit(1_000)).unwrap().memories.len(), model.len());
    }
}

fn finish(notes: &Memories) -> usize {
    let mut steps = 0;
    let progress = notes
        .reembedding("b")
        .unwrap()
        .run(embed, |_| {
            steps += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(progress.finished);
    steps
}

#[test]
fn what_is_put_in_the_middle_of_a_step_is_passed_again() {
    let scene = scene(&SimDisk::new(1), &clock());
    let mut model = BTreeMap::new();
    fill(&scene.notes, &mut model, 50);
    let progress = scene
        .notes
        .reembedding("b")
        .unwrap()
        .step(|memories| {
            // The new model has seen the old text.
            scene.notes.put(memory("key 0007", "another text")).unwrap();
            scene.notes.delete("key 0008").unwrap();
            embed(memories)
        })
        .unwrap();
    assert!(!progress.finished);
    model.insert("key 0007".to_owned(), "another text".to_owned());
    model.remove("key 0008");
    is_old(&scene.notes, &model);
    assert_eq!(finish(&scene.notes), 0);
    is_new(&scene.notes, &model);
}

#[test]
fn a_stored_index_of_the_old_vectors_is_not_taken_for_one_of_the_new() {
    let disk = SimDisk::new(2);
    let scene = scene(&disk, &clock());
    let model: BTreeMap<String, String> = (0..1_200).map(|n| (format!("key {n:04}"), format!("text {n}"))).collect();
    for batch in model.iter().collect::<Vec<_>>().chunks(600) {
        scene.notes.put_many(batch.iter().map(|(key, text)| memory(key, text)).collect()).unwrap();
    }
    let tenant = scene.world.handle("acme", "alice").unwrap();
    let start = std::time::Instant::now();
    loop {
        is_old(&scene.notes, &model);
        if tenant.index_status().unwrap()[0].stored {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    // Of the same dimensions.
    let turned = |text: &str| {
        let old = old_vector(text);
        vec![-old[1], old[0]]
    };
    let embed = |memories: &[MemoryRecord]| {
        Ok(memories.iter().map(|memory| memory.text.as_deref().map(turned)).collect::<Vec<_>>())
    };
    assert!(scene.notes.reembedding("b").unwrap().run(embed, |_| ControlFlow::Continue(())).unwrap().finished);
    check(&scene.notes, &model, turned);
    drop((tenant, scene.notes, scene.world));
    let scene = self::scene(&disk, &scene.clock);
    check(&scene.notes, &model, turned);
}

#[test]
fn it_can_be_given_up_and_what_it_left_is_swept() {
    let scene = scene(&SimDisk::new(3), &clock());
    let mut model = BTreeMap::new();
    fill(&scene.notes, &mut model, 250);
    let reembedding = scene.notes.reembedding("b").unwrap();
    assert!(!reembedding.step(embed).unwrap().finished);
    assert_eq!(scene.notes.reembedding("c").unwrap_err().kind(), ErrorKind::InvalidInput);
    scene.notes.reembedding("b").unwrap().cancel().unwrap();
    assert_eq!(reembedding.step(embed).unwrap_err().kind(), ErrorKind::InvalidInput);
    is_old(&scene.notes, &model);
    let tenant = scene.world.handle("acme", "alice").unwrap();
    while tenant.sweep().unwrap().more {}
    is_old(&scene.notes, &model);
    // From the beginning, and this time to the end.
    assert_eq!(finish(&scene.notes), 2);
    is_new(&scene.notes, &model);
    // Finished is finished.
    assert!(scene.notes.reembedding("b").unwrap().step(embed).unwrap().finished);
}

#[test]
fn a_namespace_that_is_deleted_meanwhile_ends_it() {
    let scene = scene(&SimDisk::new(4), &clock());
    let mut model = BTreeMap::new();
    fill(&scene.notes, &mut model, 250);
    let reembedding = scene.notes.reembedding("b").unwrap();
    reembedding.step(embed).unwrap();
    scene.notes.delete_namespace().unwrap();
    assert_eq!(reembedding.step(embed).unwrap_err().kind(), ErrorKind::NotFound);
    let tenant = scene.world.handle("acme", "alice").unwrap();
    while tenant.sweep().unwrap().more {}
    // Another one of the same name knows nothing of it.
    model.clear();
    fill(&scene.notes, &mut model, 30);
    is_old(&scene.notes, &model);
    assert_eq!(tenant.usage().unwrap().vectors, 30);
}

#[test]
fn vectors_that_do_not_fit_change_nothing() {
    let scene = scene(&SimDisk::new(5), &clock());
    let mut model = BTreeMap::new();
    fill(&scene.notes, &mut model, 20);
    let reembedding = scene.notes.reembedding("b").unwrap();
    type Answer = fn(usize) -> Vec<Option<Vec<f32>>>;
    let cases: [(&str, Answer); 6] = [
        ("too few", |count| vec![Some(vec![1.0; 3]); count - 1]),
        ("too many", |count| vec![Some(vec![1.0; 3]); count + 1]),
        ("not finite", |count| vec![Some(vec![f32::NAN; 3]); count]),
        ("without direction", |count| vec![Some(vec![0.0; 3]); count]),
        ("empty", |count| vec![Some(vec![]); count]),
        ("of several dimensions", |count| (0..count).map(|n| Some(vec![1.0; 2 + n % 2])).collect()),
    ];
    for (name, answer) in cases {
        let error = reembedding.step(|memories| Ok(answer(memories.len()))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        is_old(&scene.notes, &model);
    }
    // A memory may lose its vector: then it is not recalled any more.
    let progress = reembedding
        .step(|memories| {
            let mut vectors = embed(memories)?;
            vectors[3] = None;
            vectors[4] = None;
            Ok(vectors)
        })
        .unwrap();
    assert!(progress.finished);
    model.remove("key 0003");
    model.remove("key 0004");
    is_new(&scene.notes, &model);
    assert!(scene.notes.exists("key 0003").unwrap());
}
