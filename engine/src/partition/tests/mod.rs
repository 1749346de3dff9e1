//! Tests of the partition on the simulated runtime.

mod aside;
mod basics;
mod bounds;
mod careful;
mod compaction;
mod damage;
mod interrupted;
mod journal;
mod kept;
mod killed;
mod kit;
mod model;
mod moving;
mod restart;
mod rolls;
mod trim;
mod upkeep;
