//! E0599: An operator names no users: an admin of the tenant erases one.
#![allow(unused, unreachable_code)]
use watertight::*;

fn pry(operator: &Operator, user: &UserId) {
    let _ = operator.erase_user(user, Authored::Goes, |_| std::ops::ControlFlow::Continue(()));
}

fn main() {}
