//! Indexes that grow a graph and lose it again, are stored and loaded, and answer as a naive index does all the while.

mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::rng::Rng;
use support::sim_disk::SimDisk;
use support::world::root_key;
use watertight::TestClock;
use watertight::{
    Attestation, Authored, Authority, Effort, Engine, ErrorKind, Filter, IndexSettings, IndexStatus, IndexTier, Issuer,
    Memories, Memory, Metric, NamespaceSettings, Recall, Scopes, Selection, TenantHandle, TenantId, TenantSpec,
    Timestamp, UserId,
};

const DATA: &str = "/data";
const DIMENSIONS: usize = 12;

struct Scene {
    tenant: TenantHandle,
    notes: Memories,
    engine: Engine,
    authority: Authority,
    clock: Arc<TestClock>,
}

/// Graphs from so many vectors.
fn open(disk: &SimDisk, graph_from: u32, clock: &Arc<TestClock>) -> Scene {
    let (engine, authority) = Engine::builder(Path::new(DATA))
        .root_key(root_key())
        .index(IndexSettings::new().graph_from(graph_from))
        .clock(clock.clone())
        .danger()
        .disk(Arc::new(disk.clone()))
        .open()
        .unwrap();
    let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    match operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
    }
    let identity = authority.attest(Attestation::new("acme", "alice").unwrap().scopes(Scopes::ALL)).unwrap();
    let tenant = engine.tenant(&identity).unwrap();
    let notes = tenant.memories("notes").unwrap();
    Scene { tenant, notes, engine, authority, clock: clock.clone() }
}

fn clock() -> Arc<TestClock> {
    TestClock::at(Timestamp::from_seconds(1_800_000_000))
}

impl Scene {
    fn reopen(self, disk: &SimDisk, graph_from: u32) -> Self {
        let Self { tenant, notes, engine, authority, clock } = self;
        drop((tenant, notes, authority));
        engine.close().unwrap();
        drop(engine);
        open(disk, graph_from, &clock)
    }

    fn status(&self) -> IndexStatus {
        self.tenant.index_status().unwrap().into_iter().find(|status| status.namespace.as_str() == "notes").unwrap()
    }

    /// Recalls, which has the index looked after, until that is done.
    fn settle(&self, is_settled: impl Fn(&IndexStatus) -> bool) -> IndexStatus {
        let start = Instant::now();
        loop {
            self.notes.recall(&Recall::vector(&[1.0; DIMENSIONS])).unwrap();
            let status = self.status();
            if is_settled(&status) {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(120), "{status:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Keys with their vectors.
type Model = BTreeMap<String, Vec<f32>>;

fn vector(rng: &mut Rng) -> Vec<f32> {
    (0..DIMENSIONS).map(|_| rng.below(2_000) as f32 / 1_000.0 - 1.0).map(|x| if x == 0.0 { 0.5 } else { x }).collect()
}

fn put(scene: &Scene, model: &mut Model, rng: &mut Rng, keys: impl Iterator<Item = u64>) {
    let memories: Vec<Memory> = keys
        .map(|key| {
            let (key, vector) = (format!("key {key}"), vector(rng));
            model.insert(key.clone(), vector.clone());
            Memory::new(key).vector(vector)
        })
        .collect();
    for batch in memories.chunks(1_000) {
        scene.notes.put_many(batch.to_vec()).unwrap();
    }
}

fn delete(scene: &Scene, model: &mut Model, keys: &[String]) {
    for key in keys {
        model.remove(key);
        scene.notes.delete(key).unwrap();
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Keys of the nearest, nearest first.
fn naive(model: &Model, query: &[f32], top: usize) -> Vec<String> {
    let mut scored: Vec<(f64, &String)> = model.iter().map(|(key, vector)| (cosine(query, vector), key)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(top).map(|(_, key)| key.clone()).collect()
}

fn recalled(scene: &Scene, recall: Recall) -> Vec<String> {
    scene.notes.recall(&recall).unwrap().into_iter().map(|hit| hit.memory.key).collect()
}

/// Exactly the naive answer where everything is looked at; nearly always through a graph.
fn check(scene: &Scene, model: &Model, rng: &mut Rng, questions: usize) {
    let (mut found, mut wanted) = (0, 0);
    for _ in 0..questions {
        let query = vector(rng);
        let truth = naive(model, &query, 10);
        let exact = recalled(scene, Recall::vector(&query).effort(Effort::Exact));
        assert_eq!(exact, truth);
        let answer = recalled(scene, Recall::vector(&query));
        assert_eq!(answer.len(), truth.len());
        wanted += truth.len();
        found += answer.iter().filter(|key| truth.contains(key)).count();
    }
    assert!(found * 100 >= wanted * 98, "{found} of {wanted}");
}

#[test]
fn grows_a_graph_and_loses_it_again() {
    let (disk, rng, model) = (SimDisk::new(1), &mut Rng(1), &mut Model::new());
    let scene = open(&disk, 1_500, &clock());
    put(&scene, model, rng, 0..1_400);
    check(&scene, model, rng, 20);
    assert_eq!(scene.status().tier, IndexTier::Flat);

    put(&scene, model, rng, 1_400..2_000);
    let status = scene.settle(|status| status.tier == IndexTier::Graph);
    assert_eq!((status.vectors, status.beside_graph, status.gone_from_graph), (2_000, 0, 0));
    check(&scene, model, rng, 50);

    // A few come and go beside it.
    put(&scene, model, rng, 1_900..2_200);
    delete(&scene, model, &(0..50).map(|key| format!("key {key}")).collect::<Vec<_>>());
    check(&scene, model, rng, 50);
    let status = scene.status();
    assert_eq!((status.tier, status.beside_graph, status.gone_from_graph), (IndexTier::Graph, 300, 150));

    // Many: they are taken into a new one.
    put(&scene, model, rng, 2_200..2_800);
    scene.settle(|status| status.beside_graph == 0 && status.gone_from_graph == 0);
    check(&scene, model, rng, 50);

    // Hysteresis: below the threshold it stays, below half of it it goes.
    delete(&scene, model, &(1_000..2_400).map(|key| format!("key {key}")).collect::<Vec<_>>());
    let status = scene.settle(|status| status.beside_graph == 0 && status.gone_from_graph == 0);
    assert_eq!((status.tier, status.vectors), (IndexTier::Graph, 1_350));
    delete(&scene, model, &(50..700).map(|key| format!("key {key}")).collect::<Vec<_>>());
    let status = scene.settle(|status| status.tier == IndexTier::Flat);
    assert_eq!(status.vectors, 700);
    check(&scene, model, rng, 20);
}

#[test]
fn a_stored_index_is_loaded_and_brought_to_where_the_file_is() {
    for graph_from in [1_500, 100_000] {
        let (disk, rng, model) = (SimDisk::new(2), &mut Rng(2), &mut Model::new());
        let tier = if graph_from == 1_500 { IndexTier::Graph } else { IndexTier::Flat };
        let scene = open(&disk, graph_from, &clock());
        put(&scene, model, rng, 0..2_000);
        scene.settle(|status| status.tier == tier && status.stored);
        // These are not in the segment.
        put(&scene, model, rng, 1_950..2_100);
        delete(&scene, model, &(0..30).map(|key| format!("key {key}")).collect::<Vec<_>>());

        let scene = scene.reopen(&disk, graph_from);
        assert_eq!(scene.status().tier, IndexTier::Unloaded);
        let query = vector(rng);
        assert_eq!(recalled(&scene, Recall::vector(&query).effort(Effort::Exact)), naive(model, &query, 10));
        let status = scene.status();
        assert_eq!((status.tier, status.vectors, status.building), (tier, 2_070, None));
        check(&scene, model, rng, 30);
        // Originals follow.
        scene.settle(|status| status.originals_in_memory);
        check(&scene, model, rng, 30);

        // What came beside the graph is stored with it, and once more there is nothing to build.
        let scene = scene.reopen(&disk, graph_from);
        check(&scene, model, rng, 30);
        assert_eq!(scene.status().tier, tier);
    }
}

#[test]
fn an_index_of_another_state_of_the_file_is_not_used() {
    let (disk, rng, model) = (SimDisk::new(3), &mut Rng(3), &mut Model::new());
    let scene = open(&disk, 100_000, &clock());
    put(&scene, model, rng, 0..1_200);
    scene.settle(|status| status.stored && status.originals_in_memory);
    // A namespace that is deleted leaves no segment to one of the same name.
    scene.tenant.memories("notes").unwrap().delete_namespace().unwrap();
    model.clear();
    put(&scene, model, rng, 5_000..6_100);
    check(&scene, model, rng, 20);
    let scene = scene.reopen(&disk, 100_000);
    check(&scene, model, rng, 20);
}

/// What a filter selects is what is found, however little that is, and as much as is asked for.
#[test]
fn selections_of_any_size_are_answered_in_full() {
    for graph_from in [1_500, 100_000] {
        let (disk, rng) = (SimDisk::new(4), &mut Rng(4));
        let scene = open(&disk, graph_from, &clock());
        let mut rows: BTreeMap<u64, Vec<f32>> = BTreeMap::new();
        let mut put = |keys: std::ops::Range<u64>, rng: &mut Rng| {
            let memories = keys.map(|n| {
                let vector = vector(rng);
                rows.insert(n, vector.clone());
                let memory = Memory::new(format!("{}/{n:05}", n % 7)).vector(vector);
                let memory = memory.metadata("half", n % 2 == 0).metadata("tenth", (n % 10) as i64);
                let memory = memory.metadata("rare", (n % 100) as f64).metadata("name", format!("name {n}"));
                if n % 3 == 0 { memory.metadata("long", format!("{}{}", "x".repeat(100), n % 2)) } else { memory }
            });
            for batch in memories.collect::<Vec<_>>().chunks(1_000) {
                scene.notes.put_many(batch.to_vec()).unwrap();
            }
            rows.clone()
        };
        put(0..3_000, rng);
        scene.settle(|status| (status.tier == IndexTier::Graph) == (graph_from == 1_500));
        // Some of it beside the graph.
        let rows = put(2_800..3_300, rng);
        type Case = (&'static str, Selection, fn(u64) -> bool);
        let long = |end| format!("{}{end}", "x".repeat(100));
        let cases: Vec<Case> = vec![
            ("half", Selection::all().filter(Filter::eq("half", true)), |n| n % 2 == 0),
            ("the other half", Selection::all().filter(Filter::eq("half", true).not()), |n| n % 2 == 1),
            ("a tenth", Selection::all().filter(Filter::eq("tenth", 3)), |n| n % 10 == 3),
            ("some tenths", Selection::all().filter(Filter::at_least("tenth", 7)), |n| n % 10 >= 7),
            ("a hundredth", Selection::all().filter(Filter::eq("rare", 17.0)), |n| n % 100 == 17),
            ("five", Selection::all().filter(Filter::one_of("name", (0..5).map(|n| format!("name {n}")))), |n| n < 5),
            ("none", Selection::all().filter(Filter::eq("name", "nobody")), |_| false),
            ("all", Selection::all().filter(Filter::exists("name")), |_| true),
            ("nothing like it", Selection::all().filter(Filter::exists("name").not()), |_| false),
            ("both", Selection::all().filter(Filter::eq("half", true).and(Filter::eq("tenth", 4))), |n| n % 10 == 4),
            ("either", Selection::all().filter(Filter::eq("half", true).or(Filter::eq("tenth", 5))), |n| {
                n % 2 == 0 || n % 10 == 5
            }),
            ("long texts", Selection::all().filter(Filter::eq("long", long(1))), |n| n % 3 == 0 && n % 2 == 1),
            ("no such long text", Selection::all().filter(Filter::eq("long", long(1)).not()), |n| {
                n % 3 != 0 || n % 2 == 0
            }),
            ("few keys", Selection::all().key_prefix("3/00"), |n| n % 7 == 3 && n < 1_000),
            ("many keys", Selection::all().key_prefix(""), |_| true),
            ("keys and half", Selection::all().key_prefix("3/").filter(Filter::eq("half", true)), |n| {
                n % 7 == 3 && n % 2 == 0
            }),
            ("no keys", Selection::all().key_prefix("9/"), |_| false),
            ("nobody's", Selection::all().author(UserId::new(Issuer::authority(), "bob").unwrap()), |_| false),
            ("its own", Selection::all().author(UserId::new(Issuer::authority(), "alice").unwrap()), |_| true),
            ("too late", Selection::all().created_from(Timestamp::from_seconds(1_900_000_000)), |_| false),
        ];
        for (name, selection, is_selected) in cases {
            let (mut found, mut wanted) = (0, 0);
            for _ in 0..12 {
                let query = vector(rng);
                let selected = rows.iter().filter(|(n, _)| is_selected(**n));
                let selected: Model =
                    selected.map(|(n, vector)| (format!("{}/{n:05}", n % 7), vector.clone())).collect();
                let truth = naive(&selected, &query, 10);
                let ask = |effort| recalled(&scene, Recall::vector(&query).select(selection.clone()).effort(effort));
                assert_eq!(ask(Effort::Exact), truth, "{name}");
                let answer = ask(Effort::Balanced);
                assert_eq!(answer.len(), truth.len(), "{name}");
                assert!(answer.iter().all(|key| selected.contains_key(key)), "{name}");
                wanted += truth.len();
                found += answer.iter().filter(|key| truth.contains(key)).count();
            }
            assert!(found * 100 >= wanted * 97, "{name}: {found} of {wanted}");
        }
    }
}

/// Puts, deletions, expiry, reopening and merges in any order, against a naive index.
#[test]
fn whatever_happens_answers_are_those_of_a_naive_index() {
    for seed in 0..4 {
        let (disk, rng, model) = (SimDisk::new(seed), &mut Rng(seed), &mut Model::new());
        let mut scene = open(&disk, 1_100, &clock());
        let metric = [Metric::Cosine, Metric::Cosine, Metric::Dot, Metric::L2][seed as usize];
        let settings = NamespaceSettings::new().metric(metric);
        scene.tenant.memories("notes").unwrap().create(&settings).unwrap();
        let mut expiring: BTreeMap<String, Timestamp> = BTreeMap::new();
        let mut now = Timestamp::from_seconds(1_800_000_000);
        for _ in 0..60 {
            match rng.below(10) {
                0..=3 => {
                    let first = rng.below(1_800);
                    let keys: Vec<u64> = (first..first + 1 + rng.below(400)).collect();
                    expiring.retain(|key, _| !keys.iter().any(|n| *key == format!("key {n}")));
                    put(&scene, model, rng, keys.into_iter());
                }
                4..=5 => {
                    let count = rng.below(150) as usize;
                    let start = rng.below(model.len().max(1) as u64) as usize;
                    let keys: Vec<String> = model.keys().skip(start).take(count).cloned().collect();
                    expiring.retain(|key, _| !keys.contains(key));
                    delete(&scene, model, &keys);
                }
                6 => {
                    let end = Timestamp::from_micros(now.as_micros() + 1_000_000 * (1 + rng.below(100)));
                    for n in 0..rng.below(60) {
                        let (key, vector) = (format!("brief {}", rng.below(200) + n), vector(rng));
                        scene.notes.put(Memory::new(&*key).vector(vector.clone()).expires_at(end)).unwrap();
                        model.insert(key.clone(), vector);
                        expiring.insert(key, end);
                    }
                }
                7 => {
                    now = Timestamp::from_micros(now.as_micros() + 1_000_000 * rng.below(80));
                    scene.clock.set(now);
                    let gone: Vec<String> =
                        expiring.iter().filter(|(_, end)| **end <= now).map(|(key, _)| key.clone()).collect();
                    for key in gone {
                        expiring.remove(&key);
                        model.remove(&key);
                    }
                }
                8 => scene = scene.reopen(&disk, 1_100),
                _ => drop(scene.settle(|status| status.building.is_none())),
            }
            let query = vector(rng);
            let score = |vector: &[f32]| -> f64 {
                let pairs = || query.iter().zip(vector).map(|(a, b)| (f64::from(*a), f64::from(*b)));
                match metric {
                    Metric::Dot => pairs().map(|(a, b)| a * b).sum(),
                    Metric::L2 => -pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
                    _ => cosine(&query, vector),
                }
            };
            let mut truth: Vec<(f64, &String)> = model.iter().map(|(key, vector)| (score(vector), key)).collect();
            truth.sort_by(|a, b| b.0.total_cmp(&a.0));
            let truth: Vec<&String> = truth.into_iter().take(10).map(|(_, key)| key).collect();
            let exact = recalled(&scene, Recall::vector(&query).effort(Effort::Exact));
            assert_eq!(exact.iter().collect::<Vec<_>>(), truth, "seed {seed}, {metric:?}");
            let answer = recalled(&scene, Recall::vector(&query));
            assert_eq!(answer.len(), truth.len(), "seed {seed}");
            assert!(answer.iter().all(|key| model.contains_key(key)), "seed {seed}");
        }
    }
}

/// The power goes at any moment while an index is built and stored, and its predecessor taken out.
#[test]
fn a_crash_while_an_index_is_stored_leaves_the_right_answers() {
    let mut images = 0;
    for seed in 0..3 {
        let (disk, rng, model) = (SimDisk::new(100 + seed), &mut Rng(seed), &mut Model::new());
        let scene = open(&disk, 1_100, &clock());
        let mut loaded = 0;
        for round in 0..4 {
            // Nothing is put while the power may go: what is there is what was acknowledged.
            put(&scene, model, rng, round * 600..round * 600 + 1_300);
            disk.on_mutation(Some(Box::new(move |number| number % (5 + seed) == 0)));
            scene.settle(|status| {
                let is_graph = status.vectors < 1_100 || status.tier == IndexTier::Graph;
                let is_settled = status.building.is_none() && status.beside_graph * 4 <= status.vectors;
                status.stored && is_graph && is_settled
            });
            // Elsewhere, so that what is told stays the same; the power may go now too.
            scene.tenant.memories("other").unwrap().put(Memory::new("k")).unwrap();
            disk.on_mutation(None);
            for image in disk.take_images() {
                let scene = open(&image, 1_100, &scene.clock);
                let query = vector(rng);
                let exact = recalled(&scene, Recall::vector(&query).effort(Effort::Exact));
                assert_eq!(exact, naive(model, &query, 10), "seed {seed}, round {round}");
                // Without a build: from the segment of before or after, or from the vectors themselves.
                loaded += usize::from(scene.status().stored);
                images += 1;
            }
        }
        assert!(loaded > 0, "seed {seed}: no crash left a stored index");
    }
    assert!(images >= 40, "{images}");
}

/// Whoever closes does not wait for a build.
#[test]
fn closing_breaks_off_what_is_under_way() {
    let (disk, rng, model) = (SimDisk::new(5), &mut Rng(5), &mut Model::new());
    let scene = open(&disk, 300, &clock());
    put(&scene, model, rng, 0..20_000);
    scene.notes.recall(&Recall::vector(&[1.0; DIMENSIONS])).unwrap();
    let start = Instant::now();
    while scene.status().building.is_none() && scene.status().tier != IndexTier::Graph {
        assert!(start.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(1));
    }
    let progress = scene.status().building;
    assert!(progress.is_none_or(|(done, of)| done <= of && of == 20_000), "{progress:?}");
    // Meanwhile others read and write.
    put(&scene, model, rng, 20_000..20_010);
    let query = vector(rng);
    assert_eq!(recalled(&scene, Recall::vector(&query).effort(Effort::Exact)), naive(model, &query, 10));
    let scene = scene.reopen(&disk, 100_000);
    assert_eq!(recalled(&scene, Recall::vector(&query).effort(Effort::Exact)), naive(model, &query, 10));
}

/// Codes take a quarter of the memory; originals come along only where there is room for them.
#[test]
fn originals_are_in_memory_as_far_as_the_budget_goes() {
    // 384 dimensions: 1,536 bytes of original and 400 of code.
    let ask = |memory_bytes: u64| {
        let (engine, authority) = Engine::builder(Path::new(DATA))
            .root_key(root_key())
            .memory_bytes(memory_bytes)
            .tenant_cache_bytes(64 << 10)
            .danger()
            .disk(Arc::new(SimDisk::new(6)))
            .open()
            .unwrap();
        let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
        operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
        let identity = authority.attest(Attestation::new("acme", "alice").unwrap().scopes(Scopes::ALL)).unwrap();
        let tenant = engine.tenant(&identity).unwrap();
        let notes = tenant.memories("notes").unwrap();
        let mut rng = Rng(6);
        let mut vectors = Vec::new();
        for n in 0..1_500_u32 {
            let vector: Vec<f32> = (0..384).map(|_| rng.below(1_000) as f32 - 499.5).collect();
            vectors.push((format!("key {n}"), vector));
        }
        for batch in vectors.chunks(500) {
            let memories = batch.iter().map(|(key, vector)| Memory::new(&**key).vector(vector.clone()));
            notes.put_many(memories.collect()).unwrap();
        }
        let model: Model = vectors.into_iter().collect();
        let query: Vec<f32> = (0..384).map(|_| rng.below(1_000) as f32 - 499.5).collect();
        let hits = notes.recall(&Recall::vector(&query)).unwrap();
        let keys: Vec<String> = hits.into_iter().map(|hit| hit.memory.key).collect();
        assert_eq!(keys, naive(&model, &query, 10), "{memory_bytes}");
        // But for what the last search took to work with, which is counted with the next change; and what storing the index
        // takes is counted as long as that goes on.
        let start = Instant::now();
        let status = loop {
            let status = tenant.index_status().unwrap().remove(0);
            let counted = tenant.stats().unwrap().index_bytes;
            if (counted..counted + 65_536).contains(&status.bytes) {
                break status;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{memory_bytes}: {counted}, {status:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.bytes <= memory_bytes / 2, "{memory_bytes}: {status:?}");
        (status.tier, status.originals_in_memory)
    };
    assert_eq!(ask(64 << 20), (IndexTier::Flat, true));
    assert_eq!(ask(4 << 20), (IndexTier::Flat, false));
    assert_eq!(ask(1 << 20), (IndexTier::Unloaded, false));
}

/// A stored index is not carried to a fresh file: it may hold what goes.
#[test]
fn a_rekeying_and_an_erasure_leave_no_index_of_before() {
    let (disk, rng, model) = (SimDisk::new(7), &mut Rng(7), &mut Model::new());
    let scene = open(&disk, 1_100, &clock());
    let identity = scene.authority.attest(Attestation::new("acme", "bob").unwrap().scopes(Scopes::ALL)).unwrap();
    let bobs = scene.engine.tenant(&identity).unwrap().memories("notes").unwrap();
    put(&scene, model, rng, 0..900);
    let memories = (0..600).map(|n| Memory::new(format!("bob {n}")).vector(vector(rng)));
    bobs.put_many(memories.collect()).unwrap();
    let is_settled = |status: &IndexStatus| status.tier == IndexTier::Graph && status.stored;
    scene.settle(is_settled);
    let operator = scene.engine.operator(&scene.authority.attest_operator("ops").unwrap()).unwrap();
    let acme = TenantId::new("acme").unwrap();
    operator.rekey(&acme, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(scene.notes.recall(&Recall::vector(&vector(rng)).top(2_000)).unwrap().len(), 1_500);

    let bob = UserId::new(Issuer::authority(), "bob").unwrap();
    let erased = scene.tenant.erase_user(&bob, Authored::Goes, |_| ControlFlow::Continue(())).unwrap().erased;
    assert_eq!(erased.authored, 600);
    assert_eq!(scene.status().tier, IndexTier::Unloaded);
    check(&scene, model, rng, 20);
    assert_eq!(scene.status().vectors, 900);
    drop(bobs);
    let scene = scene.reopen(&disk, 1_100);
    check(&scene, model, rng, 20);
    put(&scene, model, rng, 900..1_300);
    scene.settle(is_settled);
    check(&scene, model, rng, 20);
}
