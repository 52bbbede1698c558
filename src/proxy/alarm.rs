//! One timer a connection that is moved far more often than it rings.
//!
//! Moving the deadline later costs nothing: the timer rings at the old time, looks, and sets itself again.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

use crate::host;

/// A deadline that can be moved.
#[derive(Debug)]
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    rings_at: Instant,
    deadline: Instant,
}

impl Alarm {
    /// An alarm for `deadline`.
    pub(crate) fn at(deadline: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(deadline.into())), rings_at: deadline, deadline }
    }

    /// Moves the deadline.
    pub(crate) fn set(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if deadline < self.rings_at {
            self.rings_at = deadline;
            self.sleep.as_mut().reset(deadline.into());
        }
    }

    /// Moves the deadline, unless it is earlier already.
    pub(crate) fn bring_forward(&mut self, deadline: Instant) {
        if deadline < self.deadline {
            self.set(deadline);
        }
    }

    /// Ready once the deadline is over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if host::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.rings_at = self.deadline;
            self.sleep.as_mut().reset(self.deadline.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_alarm_rings_at_the_last_deadline_it_was_given() {
        let start = host::now();
        let mut alarm = Alarm::at(start + Duration::from_millis(10));
        alarm.set(start + Duration::from_millis(40));
        poll_fn(|cx| alarm.poll(cx)).await;
        assert!(host::now() >= start + Duration::from_millis(40));
        let mut alarm = Alarm::at(start + Duration::from_secs(3_600));
        alarm.set(host::now() + Duration::from_millis(1));
        poll_fn(|cx| alarm.poll(cx)).await;
    }
}
