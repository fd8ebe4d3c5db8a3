# Named chores; `just` lists them.
default:
    @just --list

# What CI demands of the sources
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# All tests that need only Rust, and those whose tools are found
test:
    cargo test --workspace

# The whole tour
demo *args:
    cargo run --release -- demo {{args}}

# Write completions, schemas and snapshots anew
regenerate:
    DEMOCTL_REGENERATE=1 INSTA_UPDATE=always cargo test --workspace

# Everything that CI runs, in the same order
ci:
    .ci/run

# Licences and advisories
deny:
    cargo deny check
