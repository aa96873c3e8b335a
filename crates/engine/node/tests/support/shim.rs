//! What tests run as the engine's binary: its `__shim` and nothing else.

fn main() {
    let mut args = std::env::args_os().skip(1);
    assert_eq!(args.next().as_deref(), Some("__shim".as_ref()), "only the node's tests call this");
    coracle_runtime::shim_main(args)
}
