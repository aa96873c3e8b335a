//! The line that a template is run for, as its functions reach it.

use std::any::Any;

use coracle_gotemplate::{Context, Function, FunctionError, Host, Str, Value};

use super::dates::Time;

/// `__line__`, `__timestamp__`, `now`.
pub(super) const TABLE: &[Function] = &[
    Function::new("__line__", &[], |context, _| Ok(Value::String(line(context)?.line.clone()))),
    Function::new("__timestamp__", &[], |context, _| Ok(Time::of(line(context)?.ts).into())),
    Function::new("now", &[], |context, _| Ok(Time::of(line(context)?.now).into())),
];

fn line<'c>(context: &'c mut Context<'_>) -> Result<&'c mut LineHost, FunctionError> {
    context.host.as_any().downcast_mut::<LineHost>().ok_or_else(|| FunctionError::new("there is no line"))
}

/// Times are nanoseconds since 1970.
pub(super) struct LineHost {
    pub(super) now: i64,
    pub(super) ts: i64,
    pub(super) line: Str,
}

impl Host for LineHost {
    fn now(&mut self) -> (i64, u32) {
        (self.now.div_euclid(1_000_000_000), self.now.rem_euclid(1_000_000_000) as u32)
    }

    /// None of the functions here is random.
    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(0);
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
