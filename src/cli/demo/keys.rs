//! Keys that are read without Enter, on a terminal.

use std::io::{self, IsTerminal, Read};

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::sync::mpsc;

/// What a key asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Key {
    /// Stop or start the node at this position.
    Node(usize),
    /// End or start the peer at this position.
    Peer(usize),
    /// End the demo.
    Quit,
}

impl Key {
    fn of(byte: u8) -> Option<Self> {
        match byte {
            b'1'..=b'9' => Some(Self::Node(usize::from(byte - b'1'))),
            b'a'..=b'c' => Some(Self::Peer(usize::from(byte - b'a'))),
            b'q' | b'Q' => Some(Self::Quit),
            _ => None,
        }
    }
}

/// The keys that are pressed. Dropping it gives the terminal back as it was.
pub(super) struct Keys {
    pressed: Option<mpsc::Receiver<u8>>,
    _unbuffered: Option<Unbuffered>,
}

impl Keys {
    /// No key is ever pressed.
    pub(super) fn none() -> Self {
        Self { pressed: None, _unbuffered: None }
    }

    /// Reads the terminal. Where standard input is none there are no keys; a process in the background reads nothing, as the
    /// terminal would stop it.
    pub(super) fn listen() -> Self {
        if !io::stdin().is_terminal() || tcgetpgrp(io::stdin()).ok() != Some(getpgrp()) {
            return Self::none();
        }
        let (sender, pressed) = mpsc::channel(16);
        // A thread and not a task: a read from a terminal cannot be called off, and a runtime would wait for it to end.
        let reader = std::thread::Builder::new().name("demo-keys".into()).spawn(move || {
            for byte in io::stdin().lock().bytes().map_while(Result::ok) {
                if sender.blocking_send(byte).is_err() {
                    return;
                }
            }
        });
        Self { pressed: reader.is_ok().then_some(pressed), _unbuffered: Unbuffered::set() }
    }

    /// Whether any key may ever come.
    pub(super) fn are_read(&self) -> bool {
        self.pressed.is_some()
    }

    /// The next key that means something; waits for ever where there is none to come.
    pub(super) async fn next(&mut self) -> Key {
        while let Some(pressed) = &mut self.pressed {
            match pressed.recv().await {
                Some(byte) => {
                    if let Some(key) = Key::of(byte) {
                        return key;
                    }
                }
                None => self.pressed = None,
            }
        }
        std::future::pending().await
    }
}

/// A terminal that hands over every key at once and shows none; Ctrl-C stays a signal.
struct Unbuffered(Termios);

impl Unbuffered {
    fn set() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &now).ok()?;
        Some(Self(before))
    }
}

impl Drop for Unbuffered {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_that_mean_nothing_are_passed_over() {
        let (sender, pressed) = mpsc::channel(16);
        let mut keys = Keys { pressed: Some(pressed), _unbuffered: None };
        for byte in *b"\nx1\nbq" {
            sender.send(byte).await.unwrap();
        }
        assert_eq!([keys.next().await, keys.next().await, keys.next().await], [Key::Node(0), Key::Peer(1), Key::Quit]);
    }

    #[tokio::test]
    async fn after_the_last_key_none_comes() {
        let (sender, pressed) = mpsc::channel(1);
        let mut keys = Keys { pressed: Some(pressed), _unbuffered: None };
        drop(sender);
        let waiting = keys.next();
        tokio::select! {
            biased;
            key = waiting => panic!("{key:?}"),
            () = tokio::task::yield_now() => {}
        }
        assert!(!keys.are_read());
    }
}
