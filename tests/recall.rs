//! Questions: by text, to several namespaces at once, explained, and by embedders that misbehave.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use support::sim_disk::SimDisk;
use support::world::{World, root_key};
use watertight::{
    Effort, EmbedError, Embedder, Engine, ErrorKind, Filter, HashingEmbedder, Memories, Memory, Metric,
    NamespaceSettings, Reason, Recall, Scopes, Selection, Timestamp, recall_across,
};

/// Answers what it is told to.
#[derive(Debug)]
struct Told {
    model: &'static str,
    dimensions: u32,
    batch_max: usize,
    answer: Mutex<Answer>,
    calls: AtomicUsize,
    largest: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Lengths,
    TooFew,
    TooMany,
    OtherDimensions,
    Nan,
    Empty,
    Zero,
    Error(EmbedError),
}

impl Told {
    fn new(model: &'static str) -> Arc<Self> {
        let (calls, largest) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { model, dimensions: 2, batch_max: 7, answer: Mutex::new(Answer::Lengths), calls, largest })
    }

    fn tell(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }

    fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::Relaxed)
    }
}

impl Embedder for Told {
    fn model(&self) -> &str {
        self.model
    }
    fn dimensions(&self) -> u32 {
        self.dimensions
    }
    fn batch_max(&self) -> usize {
        self.batch_max
    }
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.largest.fetch_max(texts.len(), Ordering::Relaxed);
        let mut vectors: Vec<_> = texts.iter().map(|text| vec![text.len() as f32, 1.0]).collect();
        match *self.answer.lock() {
            Answer::Lengths => {}
            Answer::TooFew => drop(vectors.pop()),
            Answer::TooMany => vectors.push(vec![1.0, 1.0]),
            Answer::OtherDimensions => vectors[0].push(1.0),
            Answer::Nan => vectors[0][0] = f32::NAN,
            Answer::Empty => vectors[0].clear(),
            Answer::Zero => vectors[0].fill(0.0),
            Answer::Error(error) => return Err(error),
        }
        Ok(vectors)
    }
}

fn world(embedders: Vec<Arc<dyn Embedder>>) -> World {
    let builder = Engine::builder(Path::new("/data")).root_key(root_key());
    let builder = embedders.into_iter().fold(builder, |builder, embedder| builder.embedder(embedder));
    let (engine, authority) = builder.danger().disk(Arc::new(SimDisk::new(1))).open().unwrap();
    let world = World { engine, authority };
    for tenant in ["acme", "zoo"] {
        world.provision(tenant).unwrap();
    }
    world
}

fn notes_of(world: &World, model: &str) -> Memories {
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    notes.create(&NamespaceSettings::new().model(model)).unwrap();
    notes
}

fn found(hits: &[watertight::Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.memory.key.as_str()).collect()
}

#[test]
fn texts_are_embedded_where_the_namespace_names_a_model_and_nowhere_else() {
    let told = Told::new("lengths");
    let world = world(vec![told.clone()]);
    let notes = notes_of(&world, "lengths");
    assert!(notes.put(Memory::new("three").text("abc")).unwrap().created);
    assert!(notes.get("three").unwrap().has_vector);
    assert_eq!(told.calls(), 1);
    // A vector that is given stays; without a text there is nothing to embed.
    notes.put(Memory::new("given").text("abc").vector(vec![0.0, 1.0])).unwrap();
    notes.put(Memory::new("bare")).unwrap();
    assert_eq!(told.calls(), 0);
    assert!(!notes.get("bare").unwrap().has_vector);
    let hits = notes.recall(&Recall::about("xyz")).unwrap();
    assert_eq!((found(&hits), hits[0].score), (vec!["three", "given"], 1.0));
    // What a vector is counted for is counted for an embedded one too.
    let usage = world.handle("acme", "alice").unwrap().usage().unwrap();
    let keys_and_texts = "three".len() + "given".len() + "bare".len() + 2 * "abc".len();
    assert_eq!((usage.vectors, usage.bytes), (2, (keys_and_texts + 2 * 8) as u64));

    let other = world.handle("acme", "alice").unwrap().memories("other").unwrap();
    other.put(Memory::new("k").text("abc")).unwrap();
    assert!(!other.get("k").unwrap().has_vector);
    let refused = other.recall(&Recall::about("abc")).unwrap_err();
    assert_eq!(*refused.reason(), Reason::NoEmbedder { model: None });
    let third = world.handle("acme", "alice").unwrap().memories("third").unwrap();
    third.create(&NamespaceSettings::new().model("unheard-of")).unwrap();
    third.put(Memory::new("k").text("abc")).unwrap();
    let refused = third.recall(&Recall::about("abc")).unwrap_err();
    assert_eq!(*refused.reason(), Reason::NoEmbedder { model: Some("unheard-of".into()) });
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    // A namespace that does not exist is empty, whatever is asked.
    let absent = world.handle("acme", "alice").unwrap().memories("absent").unwrap();
    assert_eq!(absent.recall(&Recall::about("abc")).unwrap(), []);
}

#[test]
fn a_batch_is_embedded_in_the_embedders_own_batches_and_in_order() {
    let told = Told::new("lengths");
    let world = world(vec![told.clone()]);
    let notes = notes_of(&world, "lengths");
    let memories = (0..40).map(|n| {
        let memory = Memory::new(format!("{n}")).text("x".repeat(n));
        if n % 4 == 0 { memory.vector(vec![0.0, 1.0]) } else { memory }
    });
    notes.put_many(memories.collect()).unwrap();
    assert_eq!((told.calls(), told.largest.load(Ordering::Relaxed)), (5, 7));
    for n in (0..40).filter(|n| n % 4 != 0) {
        let hits = notes.recall(&Recall::vector(&[n as f32, 1.0]).top(1)).unwrap();
        assert_eq!(hits[0].memory.key, n.to_string());
    }
    // What is refused without the file is refused before anything is embedded.
    told.calls();
    let refused = notes.put_many(vec![Memory::new("good").text("t"), Memory::new("").text("t")]);
    assert_eq!((refused.unwrap_err().kind(), told.calls()), (ErrorKind::InvalidInput, 0));
    let forbidden = world.engine.tenant(&world.identity("acme", "eve", Scopes::READ)).unwrap();
    let refused = forbidden.memories("notes").unwrap().put(Memory::new("k").text("t")).unwrap_err();
    assert_eq!((refused.kind(), told.calls()), (ErrorKind::NotFound, 0));
    let nobody = world.engine.tenant(&world.identity("acme", "eve", Scopes::NONE)).unwrap();
    let refused = nobody.memories("notes").unwrap().recall(&Recall::about("t")).unwrap_err();
    assert_eq!((refused.kind(), told.calls()), (ErrorKind::NotFound, 0));
}

#[test]
fn an_embedder_that_fails_or_misbehaves_changes_nothing() {
    let told = Told::new("lengths");
    let world = world(vec![told.clone()]);
    let notes = notes_of(&world, "lengths");
    let before = world.handle("acme", "alice").unwrap().usage().unwrap();
    let wait = Some(Duration::from_secs(3));
    for (answer, kind, retry_after) in [
        (Answer::TooFew, ErrorKind::Unavailable, None),
        (Answer::TooMany, ErrorKind::Unavailable, None),
        (Answer::OtherDimensions, ErrorKind::Unavailable, None),
        (Answer::Nan, ErrorKind::Unavailable, None),
        (Answer::Empty, ErrorKind::Unavailable, None),
        // Good in itself, but without a direction, which cosine needs.
        (Answer::Zero, ErrorKind::InvalidInput, None),
        (Answer::Error(EmbedError::Refused), ErrorKind::InvalidInput, None),
        (Answer::Error(EmbedError::Unavailable { retry_after: None }), ErrorKind::RetryLater, None),
        (Answer::Error(EmbedError::Unavailable { retry_after: wait }), ErrorKind::RetryLater, wait),
    ] {
        told.tell(answer);
        let errors = [
            notes.put(Memory::new("k").text("abc")).unwrap_err(),
            notes.recall(&Recall::about("abc")).unwrap_err(),
            world
                .handle("acme", "alice")
                .unwrap()
                .transact(|t| t.memories("notes")?.put(Memory::new("k").text("abc")))
                .unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.kind(), error.retry_after()), (kind, retry_after), "{answer:?}: {error}");
        }
        assert_eq!(world.handle("acme", "alice").unwrap().usage().unwrap(), before, "{answer:?}");
    }
    told.tell(Answer::Lengths);
    notes.put(Memory::new("k").text("abc")).unwrap();
}

#[test]
fn an_engine_refuses_embedders_that_cannot_be() {
    let open = |embedders: Vec<Arc<dyn Embedder>>| {
        let builder = Engine::builder(Path::new("/data")).root_key(root_key());
        let builder = embedders.into_iter().fold(builder, |builder, embedder| builder.embedder(embedder));
        builder.danger().disk(Arc::new(SimDisk::new(1))).open().map(|_| ())
    };
    let with = |change: fn(&mut Told)| -> Arc<dyn Embedder> {
        let mut told = Arc::into_inner(Told::new("lengths")).unwrap();
        change(&mut told);
        Arc::new(told)
    };
    assert!(open(vec![with(|_| {})]).is_ok());
    for bad in [
        with(|told| told.model = ""),
        with(|told| told.dimensions = 0),
        with(|told| told.dimensions = 4_097),
        with(|told| told.batch_max = 0),
    ] {
        assert_eq!(open(vec![bad]).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let twice = open(vec![with(|_| {}), with(|_| {})]).unwrap_err();
    assert_eq!(twice.to_string(), "embedders: two of them are of the same model");
}

/// The same request is known again although the model has another vector for the text by now.
#[test]
fn a_request_is_repeated_safely_although_the_model_answers_differently() {
    let told = Told::new("lengths");
    let world = world(vec![told.clone()]);
    let notes = notes_of(&world, "lengths");
    let request = notes.once("r").unwrap();
    let first = request.put(Memory::new("k").text("abc")).unwrap();
    told.tell(Answer::Zero);
    assert_eq!(request.put(Memory::new("k").text("abc")).unwrap(), first);
    assert_eq!(notes.get("k").unwrap().version, 1);
}

#[test]
fn the_hashing_embedder_finds_texts_that_share_words() {
    let embedder = Arc::new(HashingEmbedder::new(512).unwrap());
    let world = world(vec![embedder]);
    let notes = notes_of(&world, "watertight-hashing-1-512");
    for (key, text) in [
        ("ship", "The release ships on Friday."),
        ("lunch", "Lunch is at noon in the garden."),
        ("keys", "The spare keys are in the top drawer."),
        ("empty", ""),
    ] {
        notes.put(Memory::new(key).text(text)).unwrap();
    }
    for (question, key) in [("spare key", "keys"), ("When do we ship the release?", "ship"), ("GARDEN lunch", "lunch")]
    {
        assert_eq!(notes.recall(&Recall::about(question).top(1)).unwrap()[0].memory.key, key);
    }
}

#[test]
fn an_explanation_says_what_decided() {
    let world = world(Vec::new());
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    notes.create(&NamespaceSettings::new().metric(Metric::L2).model("m")).unwrap();
    for n in 0..10 {
        notes.put(Memory::new(format!("{n}")).metadata("odd", n % 2 == 1).vector(vec![n as f32, 0.0])).unwrap();
    }
    let question = Recall::vector(&[0.0, 0.0]).top(3).filter(Filter::eq("odd", true));
    assert!(notes.recall(&question).unwrap().iter().all(|hit| hit.explanation.is_none()));
    let hits = notes.recall(&question.explain()).unwrap();
    assert_eq!(found(&hits), ["1", "3", "5"]);
    for (at, hit) in hits.iter().enumerate() {
        let why = hit.explanation.as_ref().unwrap();
        assert_eq!((why.namespace.as_str(), why.rank, why.passed_over), ("notes", at + 1, at + 1));
        assert_eq!((why.metric, why.model.as_deref(), why.vectors, why.exact), (Metric::L2, Some("m"), 10, true));
        assert_eq!(hit.score, -(2.0 * at as f32 + 1.0));
    }
}

#[test]
fn a_recall_is_bound_to_what_is_selected() {
    let world = world(Vec::new());
    let (alice, bob) = (world.handle("acme", "alice").unwrap(), world.handle("acme", "bob").unwrap());
    let notes = alice.memories("notes").unwrap();
    for n in 0..20 {
        let by = if n % 2 == 0 { &alice } else { &bob };
        by.memories("notes").unwrap().put(Memory::new(format!("{}/{n}", n % 3)).vector(vec![1.0, n as f32])).unwrap();
    }
    let recall = |selection: Selection| {
        let hits = notes.recall(&Recall::vector(&[1.0, 0.0]).select(selection)).unwrap();
        hits.into_iter().map(|hit| hit.memory.key).collect::<Vec<_>>()
    };
    assert_eq!(recall(Selection::all().key_prefix("1/")), ["1/1", "1/4", "1/7", "1/10", "1/13", "1/16", "1/19"]);
    assert_eq!(recall(Selection::all().author(bob.user().clone())).len(), 10);
    assert_eq!(recall(Selection::all().created_before(Timestamp::from_seconds(1))), [""; 0]);
    let refused = notes.recall(&Recall::vector(&[1.0, 0.0]).select(Selection::all().key_prefix("k".repeat(513))));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn every_effort_is_exact_while_the_index_is() {
    let world = world(Vec::new());
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    let memories = (0..500).map(|n| Memory::new(format!("{n}")).vector(vec![(n as f32).sin(), (n as f32).cos(), 0.3]));
    notes.put_many(memories.collect()).unwrap();
    let question = Recall::vector(&[0.4, 0.1, 0.3]);
    let expected = notes.recall(&question).unwrap();
    for effort in [Effort::Balanced, Effort::Breadth(1), Effort::Breadth(10_000), Effort::Exact] {
        assert_eq!(notes.recall(&question.clone().effort(effort)).unwrap(), expected);
    }
    for bad in [Effort::Breadth(0), Effort::Breadth(10_001)] {
        assert_eq!(notes.recall(&question.clone().effort(bad)).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let long = Recall::about("q".repeat((64 << 10) + 1));
    let reason = notes.recall(&long).unwrap_err().reason().clone();
    assert_eq!(reason, Reason::TooLarge { what: "question", limit: 64 << 10, actual: (64 << 10) + 1 });
}

#[test]
fn answers_of_several_namespaces_are_merged_by_score_then_order_then_age() {
    let world = world(Vec::new());
    let (alice, zoo) = (world.handle("acme", "alice").unwrap(), world.handle("zoo", "alice").unwrap());
    let areas = [
        alice.memories("a").unwrap(),
        alice.private("a").unwrap(),
        zoo.memories("a").unwrap(),
        zoo.memories("b").unwrap(),
    ];
    for (number, area) in areas.iter().enumerate() {
        for n in 0..30 {
            // The same scores in each, so that ties are many.
            area.put(Memory::new(format!("{number} {n}")).metadata("n", n).vector(vec![1.0, (n % 5) as f32])).unwrap();
        }
    }
    let all: Vec<_> = areas.iter().collect();
    for (top, filter) in [(1, None), (7, None), (120, None), (10_000, None), (9, Some(Filter::at_least("n", 3)))] {
        let mut question = Recall::vector(&[1.0, 0.0]).top(top);
        if let Some(filter) = filter {
            question = question.filter(filter);
        }
        let merged = recall_across(&all, &question).unwrap();
        let mut expected: Vec<_> = areas
            .iter()
            .enumerate()
            .flat_map(|(source, area)| area.recall(&question).unwrap().into_iter().map(move |hit| (source, hit)))
            .collect();
        expected.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
        expected.truncate(top);
        let merged: Vec<_> = merged.into_iter().map(|found| (found.source, found.hit)).collect();
        assert_eq!(merged, expected);
    }
    let bad = |asked: &[&Memories]| recall_across(asked, &Recall::vector(&[1.0, 0.0])).unwrap_err().kind();
    assert_eq!(bad(&[]), ErrorKind::InvalidInput);
    assert_eq!(bad(&[&areas[0], &areas[2], &areas[0].clone()]), ErrorKind::InvalidInput);
    assert_eq!(bad(&vec![&areas[0]; 65]), ErrorKind::InvalidInput);
    // Another user's handle of the shared namespace is the same namespace, that of its private one is not.
    let bob = world.handle("acme", "bob").unwrap();
    assert_eq!(bad(&[&areas[0], &bob.memories("a").unwrap()]), ErrorKind::InvalidInput);
    assert!(recall_across(&[&areas[1], &bob.private("a").unwrap()], &Recall::vector(&[1.0, 0.0])).is_ok());
}

/// Promise 2 for the one operation that touches several tenants: each is gated by its own handle, and a refusal by one
/// is not made up for by the others.
#[test]
fn each_of_several_tenants_asks_its_own_gate() {
    let world = world(Vec::new());
    let acme = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    let zoo = world.handle("zoo", "alice").unwrap().memories("notes").unwrap();
    for notes in [&acme, &zoo] {
        notes.put(Memory::new("k").vector(vec![1.0, 0.0])).unwrap();
    }
    let question = Recall::vector(&[1.0, 0.0]);
    let blind = world.engine.tenant(&world.identity("zoo", "eve", Scopes::WRITE)).unwrap().memories("notes").unwrap();
    assert_eq!(recall_across(&[&acme, &blind], &question).unwrap_err().kind(), ErrorKind::NotFound);
    let id = watertight::TenantId::new("zoo").unwrap();
    world.operator().suspend(&id).unwrap();
    assert_eq!(recall_across(&[&acme, &zoo], &question).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(recall_across(&[&acme], &question).unwrap().len(), 1);
    world.operator().purge(&id).unwrap();
    assert_eq!(recall_across(&[&acme, &zoo], &question).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_question_by_text_is_embedded_once_for_each_model_and_models_are_not_mixed() {
    let (one, two) = (Told::new("one"), Told::new("two"));
    let world = world(vec![one.clone(), two.clone()]);
    let handle = world.handle("acme", "alice").unwrap();
    let area = |name: &str, model: &str| {
        let area = handle.memories(name).unwrap();
        area.create(&NamespaceSettings::new().model(model)).unwrap();
        area.put(Memory::new(name).text("abc")).unwrap();
        area
    };
    let (a, b, c) = (area("a", "one"), area("b", "one"), area("c", "two"));
    one.calls();
    two.calls();
    assert_eq!(recall_across(&[&a, &b], &Recall::about("abc")).unwrap().len(), 2);
    assert_eq!(one.calls(), 1);
    assert_eq!(*recall_across(&[&a, &c], &Recall::about("abc")).unwrap_err().reason(), Reason::NotComparable);
    // A vector that says of which model it is.
    let declared = Recall::vector(&[3.0, 1.0]).model("one");
    assert_eq!(a.recall(&declared).unwrap().len(), 1);
    let refused = c.recall(&declared).unwrap_err();
    assert_eq!(*refused.reason(), Reason::Model { expected: "two".into(), actual: "one".into() });
    // A namespace without a model compares with every one; a missing one does not count.
    let plain = handle.memories("plain").unwrap();
    plain.put(Memory::new("p").vector(vec![3.0, 1.0])).unwrap();
    let absent = handle.memories("absent").unwrap();
    let hits = recall_across(&[&absent, &plain, &a], &Recall::vector(&[3.0, 1.0])).unwrap();
    assert_eq!(hits.iter().map(|found| found.source).collect::<Vec<_>>(), [1, 2]);
    let mixed = recall_across(&[&a, &plain, &c], &Recall::vector(&[3.0, 1.0])).unwrap_err();
    assert_eq!(*mixed.reason(), Reason::NotComparable);
}
