//! `apr rosetta convert SRC DST` as the library does it, without the rest of the command line.

use aprender::format::rosetta::RosettaStone;
use std::{env, process::exit};

fn main() {
    let paths: Vec<String> = env::args().skip(1).collect();
    if paths.len() != 2 {
        eprintln!("usage: {} SRC DST", env!("CARGO_PKG_NAME"));
        exit(2);
    }
    if let Err(error) = RosettaStone::new().convert(&paths[0], &paths[1], None) {
        eprintln!("error: {error}");
        exit(5); // as `apr` does
    }
}
