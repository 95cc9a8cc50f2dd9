//! E0603: Nobody admits himself.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge() -> watertight::access::admission::Admission {
    unreachable!()
}

fn main() {}
