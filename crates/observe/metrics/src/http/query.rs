//! Queries, and what can be asked about a query's text.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{extract::State, response::Response};
use coracle_promql::{
    engine::{Answer, Engine, Interruption, Value},
    parser,
};

use super::{
    Server,
    answer::{ApiError, Notes, put_text, put_value, success},
    params::Params,
};

/// Points a series of an answer may have.
const POINTS_MAX: i64 = 11_000;
/// Warnings, and infos, that are told of one query.
const NOTES_MAX: usize = 10;

impl Server {
    /// Runs what takes time away from the threads that serve, at most so many at once, for no longer than allowed.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl FnOnce(&Self, &Running) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let running = Running { cancelled: Arc::default(), until: Instant::now() + timeout };
        let _cancel = CancelOnDrop(Arc::clone(&running.cancelled));
        let waiting = tokio::time::timeout(timeout, self.0.running.acquire());
        let _place = match waiting.await {
            Ok(Ok(place)) => place,
            _ => return Err(ApiError::Timeout("query timed out in query queue".to_owned())),
        };
        let server = self.clone();
        match tokio::task::spawn_blocking(move || work(&server, &running)).await {
            Ok(result) => result,
            Err(error) => Err(ApiError::Internal(format!("the query failed unexpectedly: {error}"))),
        }
    }
}

/// A query under way.
pub(super) struct Running {
    cancelled: Arc<AtomicBool>,
    until: Instant,
}

impl Running {
    pub(super) fn interruption(&self) -> Option<Interruption> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Some(Interruption::Cancelled);
        }
        (Instant::now() >= self.until).then_some(Interruption::TimedOut)
    }
}

/// A client that goes away ends its query.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What both kinds of queries take.
struct Common {
    limit: usize,
    timeout: Duration,
    engine: Engine,
    query: String,
    stats: bool,
}

impl Common {
    fn of(server: &Server, params: &Params) -> Result<Self, ApiError> {
        let mut timeout = server.0.settings.query_timeout;
        if !params.get("timeout").is_empty() {
            timeout = timeout.min(Duration::from_millis(params.duration("timeout")?.max(0) as u64));
        }
        let mut engine = server.0.engine.clone();
        if !params.get("lookback_delta").is_empty() {
            let wrong = |why| ApiError::BadData(format!("error parsing lookback delta duration: {why}"));
            engine.options.lookback_ms = super::params::duration_ms(params.get("lookback_delta")).map_err(wrong)?;
        }
        let stats = !params.get("stats").is_empty();
        Ok(Self { limit: params.limit()?, timeout, engine, query: params.get("query").to_owned(), stats })
    }

    /// The answer's data and notes.
    fn finish(&self, answer: Answer, took: Duration) -> (Vec<u8>, Notes) {
        let Answer { mut value, annotations } = answer;
        let (mut warnings, infos) = annotations.for_people(&self.query, NOTES_MAX, NOTES_MAX);
        if self.limit > 0 && truncate(&mut value, self.limit) {
            warnings.push("results truncated due to limit".to_owned());
        }
        let mut data = Vec::new();
        put_value(&mut data, &value);
        if self.stats {
            data.pop();
            data.extend_from_slice(stats(took).as_bytes());
            data.push(b'}');
        }
        (data, Notes { warnings, infos })
    }
}

fn stats(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    format!(
        ",\"stats\":{{\"timings\":{{\"evalTotalTime\":{seconds},\"resultSortTime\":0,\"queryPreparationTime\":0,\
         \"innerEvalTime\":{seconds},\"execQueueTime\":0,\"execTotalTime\":{seconds}}},\
         \"samples\":{{\"totalQueryableSamples\":0,\"peakSamples\":0}}}}"
    )
}

/// Cuts an answer off; whether there was something to cut.
fn truncate(value: &mut Value, limit: usize) -> bool {
    let before = match value {
        Value::Vector(samples) => samples.len(),
        Value::Matrix(series) => series.len(),
        _ => 0,
    };
    match value {
        Value::Vector(samples) => samples.truncate(limit),
        Value::Matrix(series) => series.truncate(limit),
        _ => {}
    }
    before > limit
}

pub(super) async fn instant(State(server): State<Server>, params: Params) -> Result<Response, ApiError> {
    let common = Common::of(&server, &params)?;
    let time_ms = params.time("time", server.0.store.now_ms())?;
    let (data, notes) = server
        .run(common.timeout, move |server, running| {
            let started = Instant::now();
            let interrupt = || running.interruption();
            let answer = common.engine.instant(&server.0.store, &common.query, time_ms, &interrupt)?;
            Ok(common.finish(answer, started.elapsed()))
        })
        .await?;
    Ok(success(&params.headers, &data, &notes))
}

pub(super) async fn range(State(server): State<Server>, params: Params) -> Result<Response, ApiError> {
    let common = Common::of(&server, &params)?;
    let (start_ms, end_ms) = (params.needed_time("start")?, params.needed_time("end")?);
    if end_ms < start_ms {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = params.duration("step")?;
    if step_ms <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", why));
    }
    if end_ms.saturating_sub(start_ms) / step_ms > POINTS_MAX {
        return Err(ApiError::BadData(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
                .to_owned(),
        ));
    }
    let (data, notes) = server
        .run(common.timeout, move |server, running| {
            let started = Instant::now();
            let interrupt = || running.interruption();
            let times = (start_ms, end_ms, step_ms);
            let answer = common.engine.range(&server.0.store, &common.query, times, &interrupt)?;
            Ok(common.finish(answer, started.elapsed()))
        })
        .await?;
    Ok(success(&params.headers, &data, &notes))
}

fn parsed(server: &Server, params: &Params) -> Result<parser::ast::Expr, ApiError> {
    parser::parse(params.get("query"), server.0.engine.options.parser)
        .map_err(|error| ApiError::parameter("query", error))
}

pub(super) async fn format(State(server): State<Server>, params: Params) -> Result<Response, ApiError> {
    let mut data = Vec::new();
    put_text(&mut data, &parser::prettify(&parsed(&server, &params)?));
    Ok(success(&params.headers, &data, &Notes::default()))
}

pub(super) async fn parse(State(server): State<Server>, params: Params) -> Result<Response, ApiError> {
    let data = parser::to_json(&parsed(&server, &params)?).to_string();
    Ok(success(&params.headers, data.as_bytes(), &Notes::default()))
}
