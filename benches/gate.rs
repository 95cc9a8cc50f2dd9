//! The gate alone: what every operation of a handle pays before its work.

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{Effort, Files, Target, World, compare, contender, data, directory};
use watertight::disk::SystemDisk;
use watertight::{
    Attenuation, Attestation, Clock, Engine, Issuer, Memories, Policy, Principal, Role, Scopes, SystemClock,
    TenantHandle, TenantSpec,
};

/// A user whose role has so many rules, each about other namespaces.
fn ruled(rules: usize) -> TenantHandle {
    let (engine, authority) = Engine::in_memory().unwrap();
    let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
    let identity = authority.attest(Attestation::new("acme", "alice").unwrap().scopes(Scopes::ALL)).unwrap();
    let tenant = engine.tenant(&identity).unwrap();
    let role = (1..rules).fold(Role::new("many").unwrap().allow(Scopes::READ, "notes.*").unwrap(), |role, number| {
        let other = if number % 2 == 0 { format!("other-{number}") } else { format!("some.{number}.*") };
        let added = if number % 3 == 0 { role.deny(Scopes::ALL, &other) } else { role.allow(Scopes::ALL, &other) };
        added.unwrap()
    });
    let alice = || Principal::user(tenant.user().clone());
    let policy = Policy::new().role(role).unwrap().assign(alice(), "many").unwrap().assign(alice(), "admin").unwrap();
    tenant.set_policy(&policy).unwrap();
    tenant
}

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

    let (one, thousand) = (ruled(1), ruled(1_000));
    let notes = |tenant: &TenantHandle| tenant.memories("notes.red").unwrap();
    let passed = |memories: Memories| move || black_box(&memories).check(Scopes::READ).unwrap();
    let unknown = |tenant: &TenantHandle| {
        let tenant = tenant.clone();
        move || notes(black_box(&tenant)).check(Scopes::READ).unwrap()
    };
    compare(
        "the gate of a namespace by the number of rules",
        rounds,
        batch,
        vec![
            (contender("one rule", passed(notes(&one))), Target::Nanoseconds(100.0)),
            (contender("1,000 rules", passed(notes(&thousand))), Target::Ratio(1.5)),
        ],
    );
    compare(
        "the gate of a namespace that was not asked for before, its handle included",
        rounds,
        batch,
        vec![
            (contender("one rule", unknown(&one)), Target::None),
            (contender("1,000 rules", unknown(&thousand)), Target::Ratio(1.5)),
        ],
    );
    let narrow = |tenant: &TenantHandle| tenant.attenuate(&Attenuation::new().shared("notes.*").unwrap()).unwrap();
    let narrowest = (0..8).fold(one.clone(), |tenant, _| narrow(&tenant));
    compare(
        "the gate of a namespace by how often the handle was narrowed",
        rounds,
        batch,
        vec![
            (contender("never", passed(notes(&one))), Target::None),
            (contender("once", passed(notes(&narrow(&one)))), Target::None),
            (contender("eight times", passed(notes(&narrowest))), Target::Nanoseconds(100.0)),
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
