//! Many threads and tenants, more of them than may be open: what each sees is what one at a time would have seen.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use support::rng::Rng;
use watertight::testing::TestEngine;
use watertight::{
    ErrorKind, FeedEvent, List, Memories, Memory, Reason, Recall, Result, Scopes, Selection, TenantHandle, TenantId,
};

const THREADS: u64 = 16;
const TENANTS: usize = 6;
const KEYS: u64 = 3;
const STEPS: usize = 120;

fn engine(open_tenants: usize, tenants: usize) -> (TestEngine, Vec<TenantHandle>) {
    let test = TestEngine::with(|builder| builder.open_tenants_max(open_tenants)).unwrap();
    let handle = |number| {
        let tenant = format!("tenant-{number}");
        test.provision(&tenant).unwrap();
        test.handle(&tenant, "alice", Scopes::ALL).unwrap()
    };
    let handles = (0..tenants).map(handle).collect();
    (test, handles)
}

/// Asks again for as long as the answer is to come again.
fn patiently<T>(mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match ask() {
            Err(error) if error.kind() == ErrorKind::RetryLater => assert!(error.retry_after().is_some(), "{error}"),
            answer => return answer,
        }
    }
}

/// One operation on one key of one tenant as its caller saw it: not before `began`, not after `ended`, on a clock that
/// all threads share.
#[derive(Debug, Clone)]
struct Event {
    began: u64,
    ended: u64,
    is_put: bool,
    /// What was put or read and its version, 0 when there was nothing.
    version: u64,
    text: String,
}

/// A history of one register is linearizable if its puts have an order, each get reads the last put before it, and
/// nobody's operation comes before one that had ended when it began (Herlihy and Wing, 1990). The versions that the
/// engine tells are the order to check; registers are checked one by one, since linearizability composes.
fn assert_linearizable(register: &str, mut history: Vec<Event>) {
    let mut written = BTreeMap::from([(0, String::new())]);
    for put in history.iter().filter(|event| event.is_put) {
        assert!(
            written.insert(put.version, put.text.clone()).is_none(),
            "{register}: two puts of one version: {put:?}"
        );
    }
    assert!(written.keys().copied().eq(0..written.len() as u64), "{register}: a version is missing");
    history.sort_by_key(|event| event.began);
    for event in &history {
        assert_eq!(written.get(&event.version), Some(&event.text), "{register}: nobody put that");
    }
    // The newest version that anybody knew of at each time.
    let mut ends: Vec<_> = history.iter().map(|event| (event.ended, event.version)).collect();
    ends.sort_unstable();
    let (mut known, mut at) = (0, 0);
    for event in &history {
        while let Some((ended, version)) = ends.get(at)
            && *ended < event.began
        {
            known = known.max(*version);
            at += 1;
        }
        let fresh = if event.is_put { event.version > known } else { event.version >= known };
        assert!(fresh, "{register}: {event:?} came after version {known} was known");
    }
}

#[test]
fn a_history_that_is_not_linearizable_is_noticed() {
    let event = |began, ended, is_put, version: u64| Event {
        began,
        ended,
        is_put,
        version,
        text: if version == 0 { String::new() } else { version.to_string() },
    };
    let noticed = |history: Vec<Event>| std::panic::catch_unwind(|| assert_linearizable("a", history)).is_err();
    let (first, second) = (event(1, 2, true, 1), event(3, 6, true, 2));
    assert!(!noticed(vec![first.clone(), second.clone(), event(4, 5, false, 1), event(4, 7, false, 2)]));
    // A lost put, a stale read, a read from the future, a read of what nobody put, two puts in the wrong order.
    assert!(noticed(vec![first.clone(), event(3, 4, true, 1)]));
    assert!(noticed(vec![first.clone(), second.clone(), event(7, 8, false, 1)]));
    assert!(noticed(vec![first.clone(), event(3, 4, false, 0)]));
    assert!(noticed(vec![first, Event { text: "other".to_owned(), ..event(3, 4, false, 1) }]));
    assert!(noticed(vec![event(1, 2, true, 2), event(3, 4, true, 1)]));
}

#[test]
fn puts_and_gets_of_each_tenant_are_linearizable_while_tenants_are_evicted_at_every_step() {
    let (test, handles) = engine(1, TENANTS);
    let (handles, clock) = (Arc::new(handles), Arc::new(AtomicU64::new(1)));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (handles, clock) = (handles.clone(), clock.clone());
            thread::spawn(move || {
                let notes: Vec<_> = handles.iter().map(|handle| handle.memories("notes").unwrap()).collect();
                let mut rng = Rng(thread);
                let mut seen = Vec::new();
                for step in 0..STEPS {
                    let (tenant, key) = (rng.below(TENANTS as u64) as usize, format!("k{}", rng.below(KEYS)));
                    let is_put = rng.below(2) == 0;
                    let began = clock.fetch_add(1, Ordering::SeqCst);
                    let (version, text) = if is_put {
                        let text = format!("{tenant} {key} {thread} {step}");
                        let put = || notes[tenant].put(Memory::new(&key).text(&text));
                        (patiently(put).unwrap().version, text)
                    } else {
                        match patiently(|| notes[tenant].get(&key)) {
                            Ok(record) => (record.version, record.text.unwrap()),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                                (0, String::new())
                            }
                        }
                    };
                    let ended = clock.fetch_add(1, Ordering::SeqCst);
                    seen.push(((tenant, key), Event { began, ended, is_put, version, text }));
                }
                seen
            })
        })
        .collect();
    let mut histories: BTreeMap<_, Vec<Event>> = BTreeMap::new();
    for (register, event) in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
        histories.entry(register).or_default().push(event);
    }
    assert_eq!(histories.len(), TENANTS * KEYS as usize);
    // The feed of each tenant tells the last put of each key.
    for (number, handle) in handles.iter().enumerate() {
        let feed = handle.memories("notes").unwrap().changes(None, 1_000).unwrap();
        assert_eq!(feed.events.len(), KEYS as usize);
        for event in feed.events {
            let FeedEvent::Put(told) = event else { panic!("nothing was removed: {event:?}") };
            let puts = histories[&(number, told.key)].iter().filter(|event| event.is_put);
            assert_eq!(puts.map(|event| event.version).max(), Some(told.version));
        }
    }
    for ((tenant, key), history) in histories {
        assert_linearizable(&format!("tenant {tenant}, key {key}"), history);
    }
    let stats = test.engine().stats();
    assert_eq!((stats.open_tenants, stats.open_tenants_max), (1, 1));
    assert!(stats.evictions >= 500 && stats.opens == stats.evictions + 1, "{stats:?}");
}

/// One operation of each way to reach a tenant's file.
fn operate(handle: &TenantHandle, notes: &Memories, kind: u64, text: &str) -> Result<()> {
    match kind {
        0 => notes.put(Memory::new(text).text(text).vector(vec![1.0, 2.0])).map(|_| ()),
        1 => notes.exists("k").map(|_| ()),
        2 => notes.list(&List::new().limit(5)).map(|_| ()),
        3 => notes.recall(&Recall::vector(&[1.0, 0.0]).top(3)).map(|_| ()),
        4 => handle.transact(|transaction| {
            let notes = transaction.memories("notes")?;
            notes.put(Memory::new(text))?;
            notes.delete(text).map(|_| ())
        }),
        5 => handle.usage().map(|_| ()),
        6 => notes.changes(None, 5).map(|_| ()),
        _ => handle.memories("others").and_then(|others| others.count(&Selection::all())).map(|_| ()),
    }
}

/// Runs threads that are busy with a handle until they are told to stop; each answers how many operations went well.
struct Busy {
    stop: Arc<AtomicBool>,
    /// Set once a change that stops the handle has returned.
    revoked: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<u64>>,
}

impl Busy {
    fn start(handle: &TenantHandle, refusal: ErrorKind) -> Self {
        let (stop, revoked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let begun = Arc::new(Barrier::new(THREADS as usize + 1));
        let threads = (0..THREADS)
            .map(|number| {
                let (handle, stop, revoked, begun) = (handle.clone(), stop.clone(), revoked.clone(), begun.clone());
                thread::spawn(move || {
                    let notes = handle.memories("notes").unwrap();
                    let (mut rng, mut well) = (Rng(number), 0);
                    begun.wait();
                    while !stop.load(Ordering::SeqCst) {
                        let text = format!("{number}-{}", rng.below(50));
                        let too_late = revoked.load(Ordering::SeqCst);
                        match operate(&handle, &notes, rng.below(8), &text) {
                            Ok(()) => {
                                assert!(!too_late, "it began after the handle had been stopped");
                                well += 1;
                            }
                            Err(error) if error.kind() == ErrorKind::RetryLater => assert!(!too_late),
                            Err(error) => assert_eq!(error.kind(), refusal, "{error}"),
                        }
                    }
                    well
                })
            })
            .collect();
        begun.wait();
        thread::sleep(Duration::from_millis(30));
        Self { stop, revoked, threads }
    }

    /// The change has returned: for a while whatever begins is refused.
    fn revoked(&self) {
        self.revoked.store(true, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(30));
    }

    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        let well: u64 = self.threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(well > 0, "nobody was busy");
    }
}

#[test]
fn nothing_that_begins_after_a_suspension_or_a_purge_has_returned_succeeds() {
    let (test, handles) = engine(2, 2);
    let operator = test.operator().unwrap();
    let (acme, id) = (&handles[0], TenantId::new("tenant-0").unwrap());
    for _ in 0..5 {
        let busy = Busy::start(acme, ErrorKind::Unavailable);
        operator.suspend(&id).unwrap();
        busy.revoked();
        busy.end();
        operator.resume(&id).unwrap();
        acme.memories("notes").unwrap().put(Memory::new("k")).unwrap();
    }
    let busy = Busy::start(acme, ErrorKind::NotFound);
    operator.purge(&id).unwrap();
    busy.revoked();
    // Neither the old handles nor the old content come back with the name.
    test.provision("tenant-0").unwrap();
    busy.revoked();
    busy.end();
    test.clock().advance(Duration::from_secs(60));
    let next = test.handle("tenant-0", "alice", Scopes::ALL).unwrap();
    assert_eq!(next.usage().unwrap().memories, 0);
    assert_eq!(acme.usage().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_closed_engine_stops_whoever_is_busy() {
    let (test, handles) = engine(2, 1);
    let busy = Busy::start(&handles[0], ErrorKind::Unavailable);
    assert!(test.engine().close().unwrap().is_clean());
    busy.revoked();
    busy.end();
}

/// Each waiting change has so many bytes, so that few threads are a flood.
const FLOOD_BYTES: usize = 1 << 20;

#[test]
fn a_tenant_that_floods_itself_is_told_to_come_again_and_nobody_else_waits() {
    let (_test, handles) = engine(2, 2);
    let (flooded, quiet) = (handles[0].clone(), handles[1].memories("notes").unwrap());
    let (enter, entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    // A transaction that takes its time: all other changes of the tenant wait for it.
    let slow = {
        let flooded = flooded.clone();
        thread::spawn(move || {
            flooded.transact(|transaction| {
                transaction.memories("notes")?.put(Memory::new("slow"))?;
                enter.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            })
        })
    };
    entered.recv().unwrap();
    let (tell, told) = mpsc::channel();
    let callers = 80;
    let threads: Vec<_> = (0..callers)
        .map(|number| {
            let (notes, tell) = (flooded.memories("notes").unwrap(), tell.clone());
            thread::spawn(move || {
                let key = format!("k{number}");
                let answer = notes.put(Memory::new(&key).text("x".repeat(FLOOD_BYTES))).map(|_| key);
                tell.send(answer).unwrap();
            })
        })
        .collect();
    let fit = watertight::limits::WAITING_BYTES_MAX as usize / FLOOD_BYTES;
    for _ in fit..callers {
        let refused = told.recv().unwrap().unwrap_err();
        assert_eq!((refused.kind(), refused.reason()), (ErrorKind::RetryLater, &Reason::Busy));
        assert!(refused.retry_after().is_some_and(|wait| wait > Duration::ZERO && wait <= Duration::from_secs(1)));
    }
    // The others are still waiting, and another tenant is not.
    for number in 0..10 {
        quiet.put(Memory::new(format!("k{number}"))).unwrap();
    }
    // Whoever only reads does not wait either, and sees what is durable.
    let notes = flooded.memories("notes").unwrap();
    assert_eq!(notes.count(&Selection::all()).unwrap(), 0);
    release.send(()).unwrap();
    slow.join().unwrap().unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // Those that were refused later than the first ones are told apart from those that were done.
    let done: BTreeSet<String> = told.try_iter().filter_map(Result::ok).collect();
    assert!(!done.is_empty() && done.len() <= fit);
    let kept: BTreeSet<String> = notes.iter(List::new()).map(|record| record.unwrap().key).collect();
    assert_eq!(kept.len(), done.len() + 1);
    assert!(done.is_subset(&kept));
}
