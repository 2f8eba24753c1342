//! How large the source of a job is.

use crate::graph::{Job, Origin, Workload};

/// The size in bytes of what a job is built from, as far as it is known before anything is built: archives
/// and source trees among its direct inputs that are there or substitutable. What another job of the run
/// still fetches has no known size.
pub(super) fn source_size(work: &Workload, job: &Job) -> Option<u64> {
    let sizes = job.inputs.iter().filter_map(|path| work.paths.get(*path)).filter_map(|path| {
        let there = !matches!(path.origin, Origin::Job(_));
        (there && is_source(&path.path)).then_some(path.size)
    });
    Some(sizes.fold(0, u64::saturating_add)).filter(|size| *size > 0)
}

fn is_source(path: &str) -> bool {
    let ends = ["-source", "-src", ".zip", ".crate", ".tgz", ".tbz", ".txz", ".gem"];
    ends.iter().any(|end| path.ends_with(end)) || path.contains(".tar.") || path.ends_with(".tar")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{JobId, PathId, PathSpec};

    #[test]
    fn only_sources_of_known_size_count() {
        let path = |name: &str, origin, size| PathSpec {
            path: format!("/nix/store/{}-{name}", "0".repeat(32)),
            origin,
            size,
            refs: Vec::new(),
        };
        let work = Workload {
            paths: [
                path("hello-2.12.tar.gz", Origin::Home, 1_000),
                path("source", Origin::Substituter, 200),
                path("fix.patch", Origin::Home, 30),
                path("gcc-14.3.0", Origin::Substituter, 500_000_000),
                path("more-1.0.tar.xz", Origin::Job(JobId(0)), 4_000),
            ]
            .into_iter()
            .collect(),
            ..Workload::default()
        };
        let of = |inputs: &[u32]| {
            let inputs = inputs.iter().copied().map(PathId).collect();
            source_size(&work, &Job { inputs, ..Job::default() })
        };
        assert_eq!(of(&[0, 1, 2, 3, 4]), Some(1_200));
        assert_eq!((of(&[2, 3, 4]), of(&[]), of(&[9])), (None, None, None));
    }
}
