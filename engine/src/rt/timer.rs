//! Timers.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::sim;

/// Resolves at its deadline; dropping it cancels it.
#[must_use = "a timer does nothing unless awaited"]
pub struct Timer(TimerForm);

enum TimerForm {
    Real(glommio::timer::Timer),
    Sim(sim::Timer),
}

impl Timer {
    pub(super) fn real(timer: glommio::timer::Timer) -> Self {
        Self(TimerForm::Real(timer))
    }

    pub(super) fn sim(timer: sim::Timer) -> Self {
        Self(TimerForm::Sim(timer))
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            TimerForm::Real(timer) => Pin::new(timer).poll(cx).map(drop),
            TimerForm::Sim(timer) => Pin::new(timer).poll(cx),
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}
