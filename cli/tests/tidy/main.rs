//! The rules of the code base that a machine can check, as tests.
//!
//! A rule is a function from the [`Tree`] to its findings. Each has two tests: here, that this
//! repository keeps it; beside the rule, that it finds a planted offence and lets its lawful twin
//! pass. What a compiler or clippy already refuses is not repeated.

mod coverage;
mod fences;
mod keys;
mod layers;
mod layout;
mod loggers;
mod marks;
mod size;
mod source;

use std::fmt;

use source::Tree;

/// One offence: where it is and what to do instead.
#[derive(Debug)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

fn assert_kept(rule: fn(&Tree) -> Vec<Finding>) {
    let findings = rule(Tree::of_this_repository());
    let report: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(report.is_empty(), "{} offences:\n{}", report.len(), report.join("\n"));
}

#[test]
fn dependencies_point_one_way() {
    assert_kept(layers::manifests);
}

#[test]
fn request_schemas_stay_out_of_engine_and_replication() {
    assert_kept(layers::request_schemas);
}

#[test]
fn glommio_stays_inside_the_runtime_seam() {
    assert_kept(fences::glommio);
}

#[test]
fn tokio_stays_on_the_side_thread() {
    assert_kept(fences::tokio);
}

#[test]
fn state_is_passed_not_static() {
    assert_kept(fences::static_state);
}

#[test]
fn kafka_error_codes_stay_at_the_edge() {
    assert_kept(fences::error_codes);
}

#[test]
fn maps_are_seeded_by_the_runtime() {
    assert_kept(fences::random_state);
}

#[test]
fn files_stay_short() {
    assert_kept(size::files);
}

#[test]
fn functions_stay_short() {
    assert_kept(size::functions);
}

#[test]
fn nothing_is_left_unfinished() {
    assert_kept(marks::unfinished);
}

#[test]
fn no_test_is_ignored() {
    assert_kept(marks::ignored_tests);
}

#[test]
fn no_machine_is_named() {
    assert_kept(marks::machine_paths);
}

#[test]
fn the_top_level_is_the_map() {
    assert_kept(layout::top_level);
}

#[test]
fn every_api_is_tested_from_all_sides() {
    assert_kept(coverage::apis);
}

#[test]
fn every_module_that_logs_is_a_logger() {
    assert_kept(loggers::unlisted);
}

#[test]
fn every_key_takes_effect() {
    assert_kept(keys::unread);
}
