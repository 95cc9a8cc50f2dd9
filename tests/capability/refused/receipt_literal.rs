//! E0423: What a receipt says is had by verifying it, and its text is not written by hand.
#![allow(unused, unreachable_code)]
use watertight::*;

fn forge(text: String) -> Receipt {
    Receipt(text)
}

fn main() {}
