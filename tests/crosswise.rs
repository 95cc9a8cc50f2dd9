//! Transactions of several tenants that wait for each other: one is told so, and the others go on.

mod support;

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use support::world::{World, root_key};
use watertight::disk::MemoryDisk;
use watertight::{
    Authored, Error, ErrorKind, Issuer, Memory, Patch, Reason, Result, Revocation, TenantHandle, TenantId, Transaction,
    UserId,
};

/// Longer than all of this takes: what has not ended by then never does.
const FOR_EVER: Duration = Duration::from_secs(60);

struct Scene {
    world: Arc<World>,
    handles: Vec<TenantHandle>,
}

impl Scene {
    fn new(tenants: &[&str]) -> Self {
        let world = World::open("/data".as_ref(), Arc::new(MemoryDisk::new())).unwrap();
        let handles = tenants.iter().map(|tenant| {
            world.provision(tenant).unwrap();
            let handle = world.handle(tenant, "alice").unwrap();
            handle.memories("notes").unwrap().put(Memory::new("there")).unwrap();
            handle
        });
        let handles = handles.collect();
        Self { world: Arc::new(world), handles }
    }
}

/// Runs all at the same time and gives what they answer, in their order.
fn all<R: Send + 'static>(works: Vec<Box<dyn FnOnce() -> R + Send>>) -> Vec<R> {
    let (tell, told) = mpsc::channel();
    let count = works.len();
    for (number, work) in works.into_iter().enumerate() {
        let tell = tell.clone();
        thread::spawn(move || tell.send((number, work())));
    }
    let mut answers: Vec<Option<R>> = (0..count).map(|_| None).collect();
    for _ in 0..count {
        let (number, answer) = told.recv_timeout(FOR_EVER).expect("all of them end");
        answers[number] = Some(answer);
    }
    answers.into_iter().flatten().collect()
}

fn put(handle: &TenantHandle, key: &str) -> Result<()> {
    handle.memories("notes")?.put(Memory::new(key)).map(|_| ())
}

fn has(handle: &TenantHandle, key: &str) -> bool {
    handle.memories("notes").unwrap().exists(key).unwrap()
}

/// Each changes its own tenant, waits until all are that far, and changes the next one's.
fn ring(handles: &[TenantHandle]) -> Vec<Result<()>> {
    let together = Arc::new(Barrier::new(handles.len()));
    let works = (0..handles.len()).map(|number| -> Box<dyn FnOnce() -> Result<()> + Send> {
        let (own, next) = (handles[number].clone(), handles[(number + 1) % handles.len()].clone());
        let together = together.clone();
        Box::new(move || {
            own.transact(|t| {
                t.memories("notes")?.put(Memory::new("own"))?;
                together.wait();
                put(&next, "from before")
            })
        })
    });
    all(works.collect())
}

fn assert_one_refused(answers: &[Result<()>], handles: &[TenantHandle]) {
    let refused: Vec<usize> = (0..answers.len()).filter(|number| answers[*number].is_err()).collect();
    assert_eq!(refused.len(), 1, "{answers:?}");
    let error = answers[refused[0]].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Conflict, &Reason::Deadlock));
    assert_eq!(error.to_string(), "transactions of several tenants wait for each other: run this one again");
    for (number, handle) in handles.iter().enumerate() {
        let before = (number + handles.len() - 1) % handles.len();
        // The refused one did nothing, neither in its own tenant nor in the next.
        assert_eq!(has(handle, "own"), number != refused[0]);
        assert_eq!(has(handle, "from before"), before != refused[0]);
        assert!(handle.audit().verify().is_ok());
        put(handle, "afterwards").unwrap();
    }
}

#[test]
fn of_two_that_change_each_others_tenant_one_is_refused_and_the_other_is_done() {
    let scene = Scene::new(&["x", "y"]);
    let answers = ring(&scene.handles);
    assert_one_refused(&answers, &scene.handles);
    assert!(scene.world.engine.close().unwrap().is_clean());
}

#[test]
fn a_ring_of_any_length_is_opened_at_one_place() {
    for tenants in [&["x", "y", "z"][..], &["a", "b", "c", "d", "e", "f", "g"]] {
        let scene = Scene::new(tenants);
        let answers = ring(&scene.handles);
        assert_one_refused(&answers, &scene.handles);
    }
}

#[test]
fn tenants_of_two_engines_may_form_a_ring_too() {
    let (one, other) = (Scene::new(&["x"]), Scene::new(&["x"]));
    let handles = [one.handles[0].clone(), other.handles[0].clone()];
    let answers = ring(&handles);
    assert_one_refused(&answers, &handles);
}

#[test]
fn whoever_waits_beside_a_ring_is_served() {
    let scene = Scene::new(&["x", "y"]);
    let together = Arc::new(Barrier::new(2 + 8));
    let mut works: Vec<Box<dyn FnOnce() -> Result<()> + Send>> = Vec::new();
    for number in [0, 1] {
        let (own, other) = (scene.handles[number].clone(), scene.handles[1 - number].clone());
        let together = together.clone();
        works.push(Box::new(move || {
            own.transact(|t| {
                t.memories("notes")?.put(Memory::new("own"))?;
                together.wait();
                put(&other, "from before")
            })
        }));
    }
    for number in 0..8 {
        let (handle, together) = (scene.handles[number % 2].clone(), together.clone());
        works.push(Box::new(move || {
            together.wait();
            put(&handle, &format!("beside {number}"))
        }));
    }
    let answers = all(works);
    assert_one_refused(&answers[..2], &scene.handles);
    assert!(answers[2..].iter().all(Result::is_ok), "{answers:?}");
}

#[test]
fn the_engine_is_closed_beside_a_ring() {
    let scene = Scene::new(&["x", "y"]);
    let together = Arc::new(Barrier::new(3));
    let mut works: Vec<Box<dyn FnOnce() -> bool + Send>> = Vec::new();
    for number in [0, 1] {
        let (own, other) = (scene.handles[number].clone(), scene.handles[1 - number].clone());
        let together = together.clone();
        works.push(Box::new(move || {
            let answer = own.transact(|t| {
                t.memories("notes")?.put(Memory::new("own"))?;
                together.wait();
                put(&other, "from before")
            });
            answer.is_ok() || matches!(answer.unwrap_err().reason(), Reason::Deadlock | Reason::Closed)
        }));
    }
    let (world, together) = (scene.world.clone(), together);
    works.push(Box::new(move || {
        together.wait();
        world.engine.close().unwrap().is_clean()
    }));
    assert_eq!(all(works), [true; 3]);
}

/// What waits for a chain of others waits for an end that comes.
#[test]
fn a_chain_is_no_ring() {
    let scene = Scene::new(&["x", "y", "z"]);
    let together = Arc::new(Barrier::new(3));
    let works = (0..3).map(|number| -> Box<dyn FnOnce() -> Result<()> + Send> {
        let (own, next) = (scene.handles[number].clone(), scene.handles.get(number + 1).cloned());
        let together = together.clone();
        Box::new(move || {
            own.transact(|t| {
                t.memories("notes")?.put(Memory::new("own"))?;
                together.wait();
                match next {
                    Some(next) => put(&next, "from before"),
                    // So that the others do wait.
                    None => {
                        thread::sleep(Duration::from_millis(100));
                        Ok(())
                    }
                }
            })
        })
    });
    let answers = all(works.collect());
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(has(&scene.handles[1], "from before") && has(&scene.handles[2], "from before"));
}

/// Both have changed the other's tenant before, and neither waits for that any more.
#[test]
fn who_has_done_with_a_tenant_does_not_wait_for_it() {
    let scene = Scene::new(&["x", "y"]);
    let [x, y] = [0, 1].map(|number| scene.handles[number].clone());
    let (entered, go) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let first = {
        let (x, y, entered, go) = (x.clone(), y.clone(), entered.clone(), go.clone());
        move || {
            x.transact(|t| {
                put(&y, "from x")?;
                entered.wait();
                go.wait();
                thread::sleep(Duration::from_millis(50));
                t.memories("notes")?.put(Memory::new("own")).map(|_| ())
            })
        }
    };
    let second = move || {
        entered.wait();
        y.transact(|_| {
            go.wait();
            put(&x, "from y")
        })
    };
    let answers = all::<Result<()>>(vec![Box::new(first), Box::new(second)]);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(has(&scene.handles[0], "from y") && has(&scene.handles[1], "from x"));
}

#[test]
fn the_code_of_a_transaction_may_do_something_else_when_it_is_refused() {
    let scene = Scene::new(&["x", "y"]);
    let together = Arc::new(Barrier::new(2));
    let works = [0, 1].map(|number| -> Box<dyn FnOnce() -> Result<bool> + Send> {
        let (own, other) = (scene.handles[number].clone(), scene.handles[1 - number].clone());
        let together = together.clone();
        Box::new(move || {
            own.transact(|t| {
                together.wait();
                let refused = put(&other, "from before").is_err();
                t.memories("notes")?.put(Memory::new(if refused { "refused" } else { "done" }))?;
                Ok(refused)
            })
        })
    });
    let answers: Vec<bool> = all(works.into()).into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|refused| **refused).count(), 1);
    for number in [0, 1] {
        assert!(has(&scene.handles[number], if answers[number] { "refused" } else { "done" }));
    }
}

type Change = fn(&World, &TenantHandle) -> Result<()>;

/// All that waits for another tenant's writer, or for its end.
const CHANGES: [(&str, Change); 9] = [
    ("put", |_, h| put(h, "x")),
    ("patch", |_, h| h.memories("notes")?.patch(&Patch::new("there", serde_json::json!({"n": 1}))).map(|_| ())),
    ("delete", |_, h| h.memories("notes")?.delete("there")),
    ("transaction", |_, h| h.transact(|t: &Transaction<'_>| t.memories("notes")?.put(Memory::new("x")).map(|_| ()))),
    ("sweep", |_, h| h.sweep().map(|_| ())),
    ("revoke", |_, h| h.revoke(&Revocation::subject(&nobody()))),
    ("erase", |_, h| h.erase_user(&nobody(), Authored::Stays, |_| ControlFlow::Continue(())).map(|_| ())),
    ("rekey", |world, h| world.operator().rekey(h.id(), |_| ControlFlow::Continue(())).map(|_| ())),
    ("purge", |world, h| world.operator().purge(h.id()).map(|_| ())),
];

fn nobody() -> UserId {
    UserId::new(Issuer::authority(), "nobody").unwrap()
}

#[test]
fn whatever_waits_for_another_tenant_is_part_of_a_ring() {
    for (name, change) in CHANGES {
        for late in [false, true] {
            let scene = Scene::new(&["x", "y"]);
            let together = Arc::new(Barrier::new(2));
            let [x, y] = [0, 1].map(|number| scene.handles[number].clone());
            let first = {
                let (x, y, together, world) = (x.clone(), y.clone(), together.clone(), scene.world.clone());
                move || {
                    x.transact(|_| {
                        together.wait();
                        if late {
                            thread::sleep(Duration::from_millis(30));
                        }
                        change(&world, &y)
                    })
                }
            };
            let second = move || {
                y.transact(|_| {
                    together.wait();
                    if !late {
                        thread::sleep(Duration::from_millis(30));
                    }
                    put(&x, "from y")
                })
            };
            let answers = all::<Result<()>>(vec![Box::new(first), Box::new(second)]);
            let deadlocks = answers.iter().filter(|answer| is_deadlock(answer)).count();
            assert_eq!(deadlocks, 1, "{name}: {answers:?}");
            assert!(is_deadlock(&answers[usize::from(!late)]), "{name}: whoever comes last is refused: {answers:?}");
            assert!(answers[usize::from(late)].is_ok(), "{name}: {answers:?}");
        }
    }
}

fn is_deadlock(answer: &Result<()>) -> bool {
    answer.as_ref().is_err_and(|error: &Error| *error.reason() == Reason::Deadlock)
}

/// The code that follows a re-keying has the tenant's turn like that of a transaction.
#[test]
fn the_progress_of_a_rekeying_may_be_part_of_a_ring() {
    let scene = Scene::new(&["x", "y"]);
    let together = Arc::new(Barrier::new(2));
    let [x, y] = [0, 1].map(|number| scene.handles[number].clone());
    let rekeying = {
        let (world, y, together) = (scene.world.clone(), y.clone(), together.clone());
        move || {
            let mut answer = None;
            let done = world.operator().rekey(&TenantId::new("x")?, |_| {
                answer.get_or_insert_with(|| {
                    together.wait();
                    put(&y, "from x")
                });
                ControlFlow::Continue(())
            });
            done.and(answer.unwrap())
        }
    };
    let writing = move || {
        y.transact(|_| {
            together.wait();
            put(&x, "from y")
        })
    };
    let answers = all::<Result<()>>(vec![Box::new(rekeying), Box::new(writing)]);
    assert_eq!(answers.iter().filter(|answer| is_deadlock(answer)).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
}

#[test]
fn what_would_wait_for_its_own_transaction_is_refused() {
    let scene = Scene::new(&["x", "y"]);
    let x = scene.handles[0].clone();
    let world = scene.world.clone();
    let work = move || {
        x.transact(|t| {
            for (name, change) in CHANGES {
                let refused = change(&world, &x).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{name}: {refused}");
            }
            assert_eq!(world.engine.close().unwrap_err().kind(), ErrorKind::InvalidInput);
            // It would wait for others' transactions, which may wait for this one.
            let other = watertight::Engine::builder("/other").root_key(root_key()).danger();
            let (other, _) = other.disk(Arc::new(MemoryDisk::new())).open()?;
            assert_eq!(other.close().unwrap_err().kind(), ErrorKind::InvalidInput);
            drop(other);
            t.memories("notes")?.put(Memory::new("own")).map(|_| ())
        })
    };
    assert!(all::<Result<()>>(vec![Box::new(work)])[0].is_ok());
    // A suspension waits for nobody, and stops the transaction in which it is made.
    let (y, world) = (scene.handles[1].clone(), scene.world.clone());
    let work = move || {
        y.transact(|t| {
            world.operator().suspend(y.id())?;
            t.memories("notes")?.put(Memory::new("own")).map(|_| ())
        })
    };
    let answers = all::<Result<()>>(vec![Box::new(work)]);
    assert_eq!(*answers[0].as_ref().unwrap_err().reason(), Reason::TenantSuspended);
    scene.world.operator().resume(scene.handles[1].id()).unwrap();
    assert!(has(&scene.handles[0], "own") && !has(&scene.handles[1], "own"));
}
