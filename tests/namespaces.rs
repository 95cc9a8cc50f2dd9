//! Namespaces: what they are made with, what they refuse, what they are called, and how they compare vectors.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::rng::Rng;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::limits::{
    BATCH_MEMORIES_MAX, DESCRIPTION_BYTES_MAX, MODEL_BYTES_MAX, NAMESPACES_MAX, VECTOR_DIMENSIONS_MAX,
};
use watertight::{
    AuditAction, ErrorKind, Filter, Hit, List, Memories, Memory, Metric, NamespaceInfo, NamespaceSettings,
    NamespaceUpdate, Reason, Recall, Result, Scopes, Selection, TenantHandle, TestClock, Timestamp, recall_across,
};

struct Scene {
    world: World,
    clock: Arc<TestClock>,
    disk: SimDisk,
}

impl Scene {
    fn new() -> Self {
        let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
        let disk = SimDisk::new(1);
        let scene = Self { world: Self::open(&disk, &clock), clock, disk };
        scene.world.provision("acme").unwrap();
        scene
    }

    fn open(disk: &SimDisk, clock: &Arc<TestClock>) -> World {
        World::with_clock(Path::new("/data"), Arc::new(disk.clone()), clock.clone()).unwrap()
    }

    fn reopened(self) -> Self {
        let Self { world, clock, disk } = self;
        // Handles that the test still holds would keep the directory.
        world.engine.close().unwrap();
        Self { world: Self::open(&disk, &clock), clock, disk }
    }

    fn user(&self, name: &str) -> TenantHandle {
        self.world.handle("acme", name).unwrap()
    }

    fn alice(&self) -> TenantHandle {
        self.user("alice")
    }

    fn with_scopes(&self, scopes: Scopes) -> TenantHandle {
        self.world.engine.tenant(&self.world.identity("acme", "alice", scopes)).unwrap()
    }
}

fn settings() -> NamespaceSettings {
    NamespaceSettings::new()
}

fn vector(key: &str, vector: &[f32]) -> Memory {
    Memory::new(key).vector(vector)
}

fn reason<T>(answer: Result<T>) -> Reason {
    answer.err().expect("a refusal").reason().clone()
}

fn kind<T>(answer: Result<T>) -> ErrorKind {
    answer.err().expect("a refusal").kind()
}

fn too_large(what: &'static str, limit: usize, actual: usize) -> Reason {
    Reason::TooLarge { what, limit: limit as u64, actual: actual as u64 }
}

fn names(tenant: &TenantHandle) -> Vec<(String, bool)> {
    let infos = tenant.namespaces().unwrap();
    infos.into_iter().map(|info| (info.namespace.as_str().to_owned(), info.private)).collect()
}

/// Everything that a refused change must leave as it was: all but that the trail tells of it.
fn state(tenant: &TenantHandle) -> impl PartialEq + std::fmt::Debug + use<> {
    let trail = tenant.audit().entries(1, 1_000).unwrap();
    let changes: Vec<_> = trail.into_iter().filter(|entry| entry.action != AuditAction::Attempt).collect();
    (tenant.usage().unwrap(), tenant.namespaces().unwrap(), changes)
}

#[test]
fn settings_are_shown_and_kept_over_reopening() {
    let scene = Scene::new();
    let (alice, bob) = (scene.alice(), scene.user("bob"));
    let full = settings()
        .metric(Metric::L2)
        .dimensions(3)
        .model("points-1")
        .expires_after(Duration::new(7, 123_456_789))
        .description("naïve points");
    let made = |memories: Memories, settings: &NamespaceSettings| {
        scene.clock.advance(Duration::from_secs(1));
        let info = memories.create(settings).unwrap();
        assert_eq!(info, memories.info().unwrap());
        info
    };
    // Byte order of names is not the order of creation, and the shared ones come first.
    let infos: Vec<NamespaceInfo> = vec![
        made(alice.memories("zoo").unwrap(), &full),
        made(alice.memories("a.b").unwrap(), &settings().metric(Metric::Dot)),
        made(alice.private("full").unwrap(), &full),
        made(alice.private("0").unwrap(), &settings()),
    ];
    made(bob.private("hidden").unwrap(), &full);
    let of = |info: &NamespaceInfo| {
        (info.metric, info.dimensions, info.model.clone(), info.expires_after, info.description.clone())
    };
    let life = Some(Duration::new(7, 123_456_789));
    let expected = (Metric::L2, Some(3), Some("points-1".to_owned()), life, Some("naïve points".to_owned()));
    assert_eq!((of(&infos[0]), of(&infos[2])), (expected.clone(), expected));
    assert_eq!(of(&infos[1]), (Metric::Dot, None, None, None, None));
    assert_eq!(of(&infos[3]), (Metric::Cosine, None, None, None, None));
    assert!(infos[0].created_at < infos[1].created_at && !infos[1].private && infos[2].private);

    let listed = [infos[1].clone(), infos[0].clone(), infos[3].clone(), infos[2].clone()];
    assert_eq!(alice.namespaces().unwrap(), listed);
    let updated = alice.memories("zoo").unwrap().update(&NamespaceUpdate::new().description(None)).unwrap();
    let mut expected = infos[0].clone();
    expected.description = None;
    assert_eq!(updated, expected);
    let scene = scene.reopened();
    let alice = scene.alice();
    assert_eq!(alice.memories("zoo").unwrap().info().unwrap(), updated);
    assert_eq!(alice.namespaces().unwrap(), [infos[1].clone(), updated, infos[3].clone(), infos[2].clone()]);
    assert_eq!(alice.usage().unwrap().namespaces, 5, "all are counted, whoever can see them");
    let seen = names(&scene.user("carol"));
    assert_eq!(seen, [("a.b".into(), false), ("zoo".into(), false)], "a user who has written nothing");
    assert_eq!(kind(scene.user("carol").private("full").unwrap().info()), ErrorKind::NotFound);
    alice.audit().verify().unwrap();
}

#[test]
fn every_bound_names_its_limit_and_what_was_refused() {
    let scene = Scene::new();
    let (alice, notes) = (scene.alice(), scene.alice().memories("notes").unwrap());
    let before = state(&alice);
    let (dimensions, model, description) = (VECTOR_DIMENSIONS_MAX, MODEL_BYTES_MAX, DESCRIPTION_BYTES_MAX);
    let invalid = |what, rule| Reason::Invalid { what, rule };
    for (settings, expected) in [
        (settings().dimensions(0), invalid("vector dimensions", "must be at least 1")),
        (settings().dimensions(4_097), too_large("vector dimensions", dimensions, 4_097)),
        (settings().dimensions(u32::MAX), too_large("vector dimensions", dimensions, u32::MAX as usize)),
        (settings().model(""), invalid("model", "must not be empty")),
        // Bytes are counted, not letters.
        (settings().model("é".repeat(65)), too_large("model", model, 130)),
        (settings().description("é".repeat(513)), too_large("description", description, 1_026)),
        (settings().expires_after(Duration::ZERO), invalid("expiry", "must be at least a microsecond")),
    ] {
        let refused = notes.create(&settings).unwrap_err();
        assert_eq!((refused.kind(), refused.reason()), (ErrorKind::InvalidInput, &expected));
        if let Reason::TooLarge { limit, actual, .. } = expected {
            let said = refused.to_string();
            assert!(said.contains(&limit.to_string()) && said.contains(&actual.to_string()), "{said}");
        }
    }
    let long = || "m".repeat(MODEL_BYTES_MAX + 1);
    let refused = too_large("model", model, 129);
    assert_eq!(reason(notes.put(vector("k", &[1.0]).model(long()))), refused);
    assert_eq!(reason(notes.put(vector("k", &[1.0]).model(""))), invalid("model", "must not be empty"));
    assert_eq!(reason(notes.recall(&Recall::vector(&[1.0]).model(long()))), refused);
    assert_eq!(reason(notes.recall(&Recall::vector(&[1.0]).model(""))), invalid("model", "must not be empty"));
    for name in ["", "Notes", ".notes", "-a", "a b", "a/b", "é", "a\0", &"n".repeat(65)] {
        assert_eq!(kind(alice.memories(name)), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(kind(notes.rename(name)), ErrorKind::InvalidInput, "{name:?}");
    }
    assert_eq!(reason(notes.rename(&"n".repeat(65))), too_large("namespace", 64, 65));
    assert_eq!(state(&alice), before);

    // What is just within the bounds is taken.
    let most = settings().dimensions(4_096).model("m".repeat(model)).description("d".repeat(description));
    let made = alice.memories(&"n".repeat(64)).unwrap();
    let info = made.create(&most.expires_after(Duration::from_micros(1))).unwrap();
    assert_eq!((info.dimensions, info.expires_after), (Some(4_096), Some(Duration::from_micros(1))));
    let refused = made.update(&NamespaceUpdate::new().description(Some("d".repeat(1_025))).expires_after(None));
    assert_eq!(reason(refused), too_large("description", description, 1_025));
    assert_eq!(made.info().unwrap(), info, "an update that is refused changes nothing of it");
    assert_eq!(reason(made.create(&settings())), Reason::NamespaceExists);
}

#[test]
fn another_dimension_or_model_is_refused_everywhere_and_names_both() {
    let scene = Scene::new();
    let (alice, notes) = (scene.alice(), scene.alice().memories("notes").unwrap());
    notes.create(&settings().dimensions(2).model("red")).unwrap();
    notes.put(vector("k", &[1.0, 0.0]).model("red")).unwrap();
    notes.put(vector("unsaid", &[0.0, 1.0])).unwrap();
    let wrong = [
        (vec![1.0, 2.0, 3.0], "red", Reason::Dimension { expected: 2, actual: 3 }, ["2", "3"]),
        (
            vec![1.0, 2.0],
            "blue",
            Reason::Model { expected: "red".into(), actual: "blue".into() },
            ["\"red\"", "\"blue\""],
        ),
    ];
    for (components, model, expected, both) in wrong {
        let before = state(&alice);
        let memory = || vector("k", &components).model(model);
        let recall = Recall::vector(&components).model(model);
        let answers = [
            notes.put(memory()).map(drop),
            notes.put_many(vec![vector("new", &[1.0, 1.0]), memory(), Memory::new("last")]).map(drop),
            alice.transact(|t| {
                t.memories("notes")?.put(vector("new", &[1.0, 1.0]))?;
                t.memories("notes")?.put(memory()).map(drop)
            }),
            notes.recall(&recall).map(drop),
            recall_across(&[&alice.private("none").unwrap(), &notes], &recall).map(drop),
        ];
        for answer in answers {
            let refused = answer.unwrap_err();
            assert_eq!((refused.kind(), refused.reason()), (ErrorKind::InvalidInput, &expected));
            assert!(both.iter().all(|value| refused.to_string().contains(value)), "{refused}");
        }
        assert_eq!(state(&alice), before);
        assert_eq!(notes.count(&Selection::all()).unwrap(), 2);
        // A refused step leaves the others of its transaction.
        let outcome = alice.transact(|t| {
            let notes = t.memories("notes")?;
            assert_eq!(reason(notes.put(memory())), expected);
            notes.put(vector("k", &[1.0, 0.0]))
        });
        assert!(!outcome.unwrap().created);
        // A model that is not named, by the memory or by the question, is taken to be the right one.
        for recall in [Recall::vector(&[1.0, 0.0]), Recall::vector(&[1.0, 0.0]).model("red")] {
            assert_eq!(notes.recall(&recall).unwrap().len(), 2);
        }
    }
}

#[test]
fn a_question_of_another_model_is_refused_before_there_are_vectors() {
    let scene = Scene::new();
    let notes = scene.alice().memories("notes").unwrap();
    notes.create(&settings().model("red")).unwrap();
    let recall = |model| notes.recall(&Recall::vector(&[1.0, 2.0]).model(model));
    assert_eq!(recall("red").unwrap(), []);
    assert_eq!(reason(recall("blue")), Reason::Model { expected: "red".into(), actual: "blue".into() });
}

#[test]
fn the_first_vector_shapes_its_namespace_for_good() {
    let scene = Scene::new();
    let alice = scene.alice();
    for notes in [alice.memories("notes").unwrap(), alice.private("notes").unwrap()] {
        let shape = || notes.info().map(|info| (info.dimensions, info.model)).unwrap();
        let dimension = |expected, actual| Reason::Dimension { expected, actual };
        // What is refused shapes nothing and makes nothing.
        assert_eq!(reason(notes.put_many(vec![vector("a", &[1.0]), vector("b", &[1.0; 2])])), dimension(1, 2));
        assert_eq!(kind(notes.put(vector("a", &[0.0, 0.0]).model("red"))), ErrorKind::InvalidInput);
        assert_eq!(kind(notes.info()), ErrorKind::NotFound);
        // A model is the vector's: without one it says nothing.
        notes.put(Memory::new("text").model("red")).unwrap();
        assert_eq!(shape(), (None, None));
        assert_eq!(notes.recall(&Recall::vector(&[1.0; 9])).unwrap(), []);

        notes.put(vector("a", &[1.0, 0.0, 0.0])).unwrap();
        assert_eq!(shape(), (Some(3), None));
        assert_eq!(reason(notes.put(vector("b", &[1.0, 0.0]).model("blue"))), dimension(3, 2));
        assert_eq!(shape(), (Some(3), None));
        notes.put(vector("b", &[0.0, 1.0, 0.0]).model("red")).unwrap();
        assert_eq!(shape(), (Some(3), Some("red".into())));
        let other = Reason::Model { expected: "red".into(), actual: "blue".into() };
        assert_eq!(reason(notes.put(vector("c", &[1.0, 0.0, 0.0]).model("blue"))), other);
        assert_eq!(notes.delete_where(&Selection::all()).unwrap().count, 3);
        assert_eq!(shape(), (Some(3), Some("red".into())), "also when all that shaped it is gone");
        assert_eq!(reason(notes.put(vector("c", &[1.0]))), dimension(3, 1));
    }
    // One that was made without keeps its metric and takes dimensions and model, in a transaction as well.
    let dots = alice.memories("dots").unwrap();
    dots.create(&settings().metric(Metric::Dot).description("kept")).unwrap();
    alice
        .transact(|t| {
            let dots = t.memories("dots")?;
            dots.put(vector("a", &[1.0, 2.0]).model("red"))?;
            assert_eq!(reason(dots.put(vector("b", &[1.0]))), Reason::Dimension { expected: 2, actual: 1 });
            Ok(())
        })
        .unwrap();
    let scene = scene.reopened();
    let info = scene.alice().memories("dots").unwrap().info().unwrap();
    assert_eq!((info.metric, info.dimensions, info.model.as_deref()), (Metric::Dot, Some(2), Some("red")));
    assert_eq!(info.description.as_deref(), Some("kept"));
    let info = scene.alice().memories("notes").unwrap().info().unwrap();
    assert_eq!((info.dimensions, info.model.as_deref()), (Some(3), Some("red")));
}

#[test]
fn each_metric_refuses_the_vectors_that_it_cannot_compare() {
    let scene = Scene::new();
    let alice = scene.alice();
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let notes = alice.memories(&format!("{metric:?}").to_lowercase()).unwrap();
        notes.create(&settings().metric(metric)).unwrap();
        notes.put(vector("k", &[3.0, 4.0])).unwrap();
        // The length counts, not the components; at the limit it is taken.
        for (components, fits) in [
            ([0.0, -0.0], metric != Metric::Cosine),
            ([1e18, 0.0], true),
            ([0.8e18, 0.8e18], metric == Metric::Cosine),
            ([f32::MAX, f32::MAX], metric == Metric::Cosine),
            ([f32::MIN_POSITIVE, 0.0], true),
            ([f32::NAN, 1.0], false),
            ([1.0, f32::INFINITY], false),
        ] {
            let before = state(&alice);
            let recall = Recall::vector(&components);
            if fits {
                notes.put(vector("fits", &components)).unwrap();
                assert_eq!(notes.recall(&recall).unwrap().len(), 2);
                notes.delete("fits").unwrap();
                continue;
            }
            let put = || vector("k", &components);
            for answer in [
                notes.put(put()).map(drop),
                notes.put_many(vec![vector("new", &[1.0, 1.0]), put()]).map(drop),
                alice.transact(|t| t.memories(notes.namespace().as_str())?.put(put()).map(drop)),
                notes.recall(&recall).map(drop),
            ] {
                assert_eq!(kind(answer), ErrorKind::InvalidInput, "{components:?} under {metric:?}");
            }
            assert_eq!(state(&alice), before);
            let hits = notes.recall(&Recall::vector(&[3.0, 4.0])).unwrap();
            let score = match metric {
                Metric::Cosine => 1.0,
                Metric::Dot => 25.0,
                _ => 0.0,
            };
            assert_eq!(hits.iter().map(|hit| hit.score).collect::<Vec<_>>(), [score], "the old vector is there");
        }
    }
}

#[test]
fn a_name_is_changed_with_everything_behind_it() {
    let scene = Scene::new();
    let (alice, bob) = (scene.alice(), scene.user("bob"));
    let notes = alice.memories("notes").unwrap();
    let of_bob = bob.memories("notes").unwrap();
    notes.create(&settings().metric(Metric::Dot).model("red").description("kept")).unwrap();
    notes.put_many(["a", "b", "c"].map(|key| vector(key, &[1.0, 2.0])).into()).unwrap();
    alice.private("archive").unwrap().put(Memory::new("private")).unwrap();
    let info = notes.info().unwrap();
    let cursor = of_bob.list(&List::new().limit(1)).unwrap().next.unwrap();
    let feed = of_bob.changes(None, 10).unwrap().next;
    let usage = alice.usage().unwrap();

    assert_eq!(reason(alice.memories("absent").unwrap().rename("archive")), Reason::NotFound);
    alice.memories("taken").unwrap().put(Memory::new("taken")).unwrap();
    assert_eq!(reason(notes.rename("taken")), Reason::NamespaceExists);
    assert_eq!(reason(notes.rename("notes")), Reason::NamespaceExists, "its own name is taken too");
    alice.memories("taken").unwrap().delete_namespace().unwrap();
    assert_eq!(alice.usage().unwrap(), usage);

    // Both handles know where it is when it is renamed.
    assert_eq!([&notes, &of_bob].map(|notes| notes.count(&Selection::all()).unwrap()), [3, 3]);
    // The private one of that name is another one and no obstacle.
    let archive = notes.rename("archive").unwrap();
    assert_eq!((archive.namespace().as_str(), archive.is_private()), ("archive", false));
    let mut renamed = info;
    renamed.namespace = archive.namespace().clone();
    assert_eq!((archive.info().unwrap(), bob.memories("archive").unwrap().info().unwrap()), (renamed.clone(), renamed));
    assert_eq!(alice.usage().unwrap(), usage);
    assert_eq!(archive.recall(&Recall::vector(&[1.0, 2.0])).unwrap().len(), 3);
    assert_eq!(names(&alice), [("archive".into(), false), ("archive".into(), true)]);
    for old in [&notes, &of_bob] {
        assert_eq!(kind(old.get("a")), ErrorKind::NotFound);
        assert_eq!(old.count(&Selection::all()).unwrap(), 0);
        assert_eq!(old.recall(&Recall::vector(&[1.0, 2.0])).unwrap(), []);
        assert_eq!((kind(old.delete("a")), kind(old.info())), (ErrorKind::NotFound, ErrorKind::NotFound));
        assert_eq!(kind(old.rename("elsewhere")), ErrorKind::NotFound);
    }
    assert_eq!(reason(of_bob.changes(Some(&feed), 10)), Reason::FeedGone);
    let of_bob_now = bob.memories("archive").unwrap();
    assert_eq!(kind(of_bob_now.changes(Some(&feed), 10)), ErrorKind::InvalidInput, "positions stay with the name");
    assert_eq!(kind(of_bob_now.list(&List::new().after(cursor.clone()))), ErrorKind::InvalidInput);

    // The old name is free: what a live handle puts there is a namespace of its own, with a shape of its own.
    notes.put(vector("new", &[1.0])).unwrap();
    assert_eq!(of_bob.list(&List::new().after(cursor)).unwrap().memories, []);
    assert_eq!((of_bob.count(&Selection::all()).unwrap(), archive.count(&Selection::all()).unwrap()), (1, 3));
    assert_eq!(reason(of_bob.changes(Some(&feed), 10)), Reason::FeedGone);
    assert_eq!(reason(archive.rename("notes")), Reason::NamespaceExists);
    let head = alice.audit().verify().unwrap().entries;
    alice.private("archive").unwrap().rename("own").unwrap();
    let scene = scene.reopened();
    let alice = scene.alice();
    assert_eq!(names(&alice), [("archive".into(), false), ("notes".into(), false), ("own".into(), true)]);
    let entries = scene.user("bob").audit().entries(1, 100).unwrap();
    let told = |from: &watertight::AuditEntry| from.renamed_to.as_ref().map(|to| to.as_str().to_owned());
    let renames: Vec<_> = entries.iter().filter(|entry| entry.action == AuditAction::RenameNamespace).collect();
    assert_eq!(renames.iter().map(|entry| told(entry)).collect::<Vec<_>>(), [Some("archive".into()), None]);
    assert_eq!(alice.audit().verify().unwrap().entries, head + 1);
}

#[test]
fn private_and_shared_namespaces_of_one_name_end_and_move_by_themselves() {
    let scene = Scene::new();
    let (alice, bob) = (scene.alice(), scene.user("bob"));
    let areas = || [alice.memories("n"), alice.private("n"), bob.private("n")].map(Result::unwrap);
    for (moved, area) in areas().iter().enumerate() {
        for gone in [false, true] {
            for (number, area) in areas().iter().enumerate() {
                area.put_many((0..=number).map(|n| Memory::new(format!("{n}"))).collect()).unwrap();
            }
            let counts = || areas().map(|area| area.count(&Selection::all()).unwrap());
            let before = alice.usage().unwrap();
            let mut expected = [1, 2, 3];
            assert_eq!(counts(), expected);
            expected[moved] = 0;
            if gone {
                let swept = area.delete_namespace().unwrap();
                assert_eq!((swept.count, swept.more), (moved as u64 + 1, false));
                assert_eq!(counts(), expected);
                let after = alice.usage().unwrap();
                assert_eq!((after.memories, after.namespaces), (before.memories - swept.count, before.namespaces - 1));
            } else {
                let there = area.rename("m").unwrap();
                assert_eq!(counts(), expected);
                assert_eq!(there.count(&Selection::all()).unwrap(), moved as u64 + 1);
                there.rename("n").unwrap();
                assert_eq!(alice.usage().unwrap(), before);
            }
        }
    }
}

type Act = fn(&TenantHandle) -> Result<()>;

#[test]
fn each_operation_needs_its_one_scope() {
    let rows: [(&str, Scopes, Act); 12] = [
        ("create", Scopes::WRITE, |t| t.memories("fresh")?.create(&settings()).map(drop)),
        ("create private", Scopes::WRITE, |t| t.private("fresh")?.create(&settings()).map(drop)),
        ("info", Scopes::READ, |t| t.memories("notes")?.info().map(drop)),
        ("info private", Scopes::READ, |t| t.private("notes")?.info().map(drop)),
        ("namespaces", Scopes::READ, |t| t.namespaces().map(drop)),
        ("update", Scopes::ADMIN, |t| {
            t.memories("notes")?.update(&NamespaceUpdate::new().description(Some("new".into()))).map(drop)
        }),
        ("update private", Scopes::WRITE, |t| {
            t.private("notes")?.update(&NamespaceUpdate::new().description(Some("new".into()))).map(drop)
        }),
        ("rename", Scopes::ADMIN, |t| t.memories("notes")?.rename("renamed").map(drop)),
        ("rename private", Scopes::WRITE, |t| t.private("notes")?.rename("renamed").map(drop)),
        ("delete_namespace", Scopes::ADMIN, |t| t.memories("notes")?.delete_namespace().map(drop)),
        ("delete_namespace private", Scopes::DELETE, |t| t.private("notes")?.delete_namespace().map(drop)),
        ("sweep", Scopes::ADMIN, |t| t.sweep().map(drop)),
    ];
    for (name, needed, act) in rows {
        let scene = Scene::new();
        let alice = scene.alice();
        alice.memories("notes").unwrap().put(Memory::new("k")).unwrap();
        alice.private("notes").unwrap().put(Memory::new("k")).unwrap();
        let before = state(&alice);
        let all = [Scopes::READ, Scopes::WRITE, Scopes::DELETE, Scopes::ADMIN];
        let others = all.into_iter().filter(|scope| *scope != needed).fold(Scopes::NONE, |all, one| all | one);
        assert_eq!(reason(act(&scene.with_scopes(others))), Reason::NotFound, "{name}");
        assert_eq!(state(&alice), before, "{name}");
        act(&scene.with_scopes(needed)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Transactions make the namespaces, ten thousand at a time: each put of one into a new one.
#[test]
fn a_tenant_has_so_many_namespaces_and_no_more() {
    let scene = Scene::new();
    let alice = scene.alice();
    alice.private("first").unwrap().put(Memory::new("k")).unwrap();
    let mut made = 1;
    while made < NAMESPACES_MAX {
        let until = NAMESPACES_MAX.min(made + BATCH_MEMORIES_MAX as u32);
        let fill = |t: &watertight::Transaction<'_>| {
            (made..until).try_for_each(|n| t.memories(&format!("n{n}"))?.put(Memory::new("k")).map(drop))
        };
        alice.transact(fill).unwrap();
        made = until;
    }
    let full = Reason::Full { what: "namespaces", limit: u64::from(NAMESPACES_MAX) };
    let before = (alice.usage().unwrap(), alice.audit().verify().unwrap());
    assert_eq!(before.0.namespaces, NAMESPACES_MAX);
    let bob = scene.user("bob");
    let refused = [
        alice.memories("more").unwrap().create(&settings()).map(drop),
        alice.memories("more").unwrap().put(Memory::new("k")).map(drop),
        bob.private("more").unwrap().put_many(vec![Memory::new("k")]).map(drop),
        alice.transact(|t| t.private("more")?.put(Memory::new("k")).map(drop)),
    ];
    for answer in refused {
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (ErrorKind::Limit, &full));
        assert_eq!(error.to_string(), "the limit of 65536 namespaces is reached");
    }
    assert_eq!((alice.usage().unwrap(), alice.audit().verify().unwrap()), before);
    // What exists takes memories and other names; what ends gives its place to one more.
    alice.memories("n7").unwrap().put(Memory::new("l")).unwrap();
    alice.memories("n7").unwrap().rename("seven").unwrap();
    alice.private("first").unwrap().delete_namespace().unwrap();
    bob.private("more").unwrap().put(Memory::new("k")).unwrap();
    assert_eq!(reason(alice.memories("more").unwrap().create(&settings())), full);
    assert_eq!(alice.usage().unwrap().namespaces, NAMESPACES_MAX);
}

/// What a metric is, in f64; never the negative zero, which would be sorted behind the other.
fn score(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(x, y)| (f64::from(*x), f64::from(*y)));
    let dot = 0.0 + pairs().map(|(x, y)| x * y).sum::<f64>();
    match metric {
        Metric::Dot => dot,
        Metric::L2 => 0.0 - pairs().map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt(),
        _ => dot / (score(Metric::Dot, a, a) * score(Metric::Dot, b, b)).sqrt(),
    }
}

fn keys(hits: &[Hit]) -> Vec<usize> {
    hits.iter().map(|hit| hit.memory.key.parse().unwrap()).collect()
}

/// Small whole numbers, whose sums f32 holds exactly: many scores are equal, and the order is known to the last place.
#[test]
fn hits_are_in_the_order_of_their_scores_and_equal_ones_in_that_of_age() {
    let scene = Scene::new();
    let alice = scene.alice();
    let mut rng = Rng(7);
    let mut random =
        move |dimensions: usize| -> Vec<f32> { (0..dimensions).map(|_| rng.below(5) as f32 - 2.0).collect() };
    let mut negative = 0;
    for (metric, dimensions) in [(Metric::Dot, 3), (Metric::Dot, 19), (Metric::L2, 3), (Metric::L2, 19)] {
        let notes = alice.private(&format!("n{dimensions}-{}", metric == Metric::L2)).unwrap();
        notes.create(&settings().metric(metric)).unwrap();
        // The last put of a key counts, the first one says how old it is; key 5 is put again and is the youngest.
        let mut vectors: Vec<Vec<f32>> = (0..200).map(|_| random(dimensions)).collect();
        notes
            .put_many((0..200).map(|n| vector(&n.to_string(), &vectors[n]).metadata("n", n as i64)).collect())
            .unwrap();
        notes.recall(&Recall::vector(&vectors[0])).unwrap();
        notes.delete("5").unwrap();
        for n in [7, 100, 199, 5] {
            vectors[n] = random(dimensions);
            notes.put(vector(&n.to_string(), &vectors[n]).metadata("n", n as i64)).unwrap();
        }
        let age = |n: usize| if n == 5 { 200 } else { n };
        for round in 0..60 {
            let question = if round == 0 { vec![0.0; dimensions] } else { random(dimensions) };
            let least = f64::from(round % 7) - 3.0;
            let mut expected: Vec<_> = (0..200).map(|n| (score(metric, &question, &vectors[n]), n)).collect();
            expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(age(a.1).cmp(&age(b.1))));
            let of = |keep: &dyn Fn(f64, usize) -> bool, top: usize| -> Vec<usize> {
                expected.iter().filter(|(score, n)| keep(*score, *n)).map(|(_, n)| *n).take(top).collect()
            };
            let recall = Recall::vector(&question);
            let hits = notes.recall(&recall.clone().top(500)).unwrap();
            assert_eq!(keys(&hits), of(&|_, _| true, 500), "{metric:?}");
            for (hit, (score, _)) in hits.iter().zip(&expected) {
                assert_eq!(hit.score, *score as f32, "whole numbers and their roots are exact");
                assert!(hit.score != 0.0 || hit.score.is_sign_positive());
                negative += usize::from(hit.score < 0.0);
            }
            assert_eq!(keys(&notes.recall(&recall.clone().top(9)).unwrap()), of(&|_, _| true, 9));
            let selected = recall.clone().top(9).filter(Filter::less_than("n", 20));
            assert_eq!(keys(&notes.recall(&selected).unwrap()), of(&|_, n| n < 20, 9));
            // A score that is exactly the least one is a hit.
            let at_least = recall.top(500).minimum_score(least as f32);
            assert_eq!(keys(&notes.recall(&at_least).unwrap()), of(&|score, _| score >= least, 500), "{metric:?}");
        }
    }
    assert!(negative > 10_000, "{negative} negative scores");
}

#[test]
fn scores_agree_with_plain_sums_in_f64_under_every_metric_also_after_reopening() {
    let mut scene = Scene::new();
    let mut rng = Rng(11);
    let metrics = [Metric::Cosine, Metric::Dot, Metric::L2];
    let mut random = move || -> Vec<f32> { (0..100).map(|_| rng.below(2_001) as f32 * 1e-3 - 1.0).collect() };
    let vectors: Vec<Vec<f32>> = (0..300).map(|_| random()).collect();
    let name = |metric: Metric| format!("{metric:?}").to_lowercase();
    for metric in metrics {
        let notes = scene.alice().memories(&name(metric)).unwrap();
        notes.create(&settings().metric(metric)).unwrap();
        notes.put_many((0..300).map(|n| vector(&n.to_string(), &vectors[n])).collect()).unwrap();
    }
    for _ in 0..2 {
        for metric in metrics {
            let notes = scene.alice().memories(&name(metric)).unwrap();
            for question in std::iter::repeat_with(&mut random).take(10) {
                let recall = Recall::vector(&question).explain();
                let hits = notes.recall(&recall.clone().top(300)).unwrap();
                let mut found = keys(&hits);
                for (hit, n) in hits.iter().zip(&found) {
                    let expected = score(metric, &question, &vectors[*n]);
                    assert!((f64::from(hit.score) - expected).abs() < 1e-4, "{metric:?}: {} {expected}", hit.score);
                    assert_eq!(hit.explanation.as_ref().unwrap().metric, metric);
                }
                assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
                let best = notes.recall(&recall.clone().top(10)).unwrap();
                assert_eq!(keys(&best), found[..10]);
                let least = hits[100].score;
                assert_eq!(keys(&notes.recall(&recall.top(300).minimum_score(least)).unwrap()), found[..101]);
                found.sort_unstable();
                assert_eq!(found, (0..300).collect::<Vec<_>>());
            }
        }
        scene = scene.reopened();
    }
    let alice = scene.alice();
    let [cosine, dot, l2] = metrics.map(|metric| alice.memories(&name(metric)).unwrap());
    for pair in [[&cosine, &dot], [&dot, &l2], [&l2, &cosine]] {
        assert_eq!(reason(recall_across(&pair, &Recall::vector(&vectors[0]))), Reason::NotComparable);
    }
}
