//! The gate alone: what every operation of a handle pays before its work.

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{Effort, Files, Target, World, compare, contender, data, directory};
use watertight::disk::SystemDisk;
use watertight::{Clock, Scopes, SystemClock};

fn main() {
    let mut criterion = support::criterion();
    if support::is_listing() {
        return;
    }
    let effort = Effort::from_args();
    let (rounds, batch) = (effort.of(301, 1), effort.of(20_000, 10));

    let directory = directory();
    let world = World::open(&data(&directory), Files::Encrypted, 1 << 20, Arc::new(SystemDisk));
    let tenant = &world.tenant;
    let pass = || black_box(tenant).check(Scopes::READ).unwrap();
    let read_clock = || {
        black_box(SystemClock.now());
    };
    criterion.bench_function("gate", |b| b.iter(pass));

    compare(
        "the gate alone",
        rounds,
        batch,
        vec![
            (contender("reading the system's clock, which the gate does once", read_clock), Target::None),
            (contender("gate", pass), Target::Nanoseconds(100.0)),
        ],
    );

    // The neighbour uses a clone of the handle: the same gate, the same clock.
    let neighbour = tenant.clone();
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                neighbour.check(Scopes::READ).unwrap();
            }
        });
        criterion.bench_function("gate beside a second thread", |b| b.iter(pass));
        compare(
            "the gate while a second thread passes it all the time",
            rounds,
            batch,
            vec![
                (contender("reading the system's clock, which the gate does once", read_clock), Target::None),
                (contender("gate", pass), Target::Nanoseconds(100.0)),
            ],
        );
        stop.store(true, Ordering::Relaxed);
    });
    criterion.final_summary();
}
