//! Background tasks with names: every one can be listed, and none is started anonymously.

use std::{collections::BTreeMap, future::Future, sync::LazyLock};

use parking_lot::Mutex;
use tokio::task::JoinHandle;

static RUNNING: LazyLock<Mutex<BTreeMap<&'static str, usize>>> = LazyLock::new(Mutex::default);

/// Counts one running task for as long as it lives, however the task ends.
struct Running(&'static str);

impl Running {
    fn start(name: &'static str) -> Self {
        *RUNNING.lock().entry(name).or_default() += 1;
        Self(name)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = RUNNING.lock();
        if let Some(count) = running.get_mut(self.0) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.0);
            }
        }
    }
}

/// Starts `future` on the current runtime under `name`.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let running = Running::start(name);
    tokio::spawn(async move {
        let _running = running;
        future.await
    })
}

/// Starts `future` on `runtime` under `name`, for work that belongs in another network namespace.
pub fn spawn_on<F>(runtime: &tokio::runtime::Handle, name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let running = Running::start(name);
    runtime.spawn(async move {
        let _running = running;
        future.await
    })
}

/// The names of the tasks that run now, with how many there are of each.
pub fn list() -> Vec<(&'static str, usize)> {
    RUNNING.lock().iter().map(|(name, count)| (*name, *count)).collect()
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_task_is_listed_while_it_runs() {
        let (release, wait) = tokio::sync::oneshot::channel::<()>();
        let task = super::spawn("listed", wait);
        assert!(super::list().contains(&("listed", 1)));
        release.send(()).expect("the task waits");
        task.await.expect("the task ends").expect("the task was released");
        assert!(!super::list().iter().any(|(name, _)| *name == "listed"));
    }
}
