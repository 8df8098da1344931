//! Refresh tokens in use: chains, of each of which somebody knows the last token that was acknowledged.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::issuer::load::{CALLERS, Caller, member, together};
use crate::issuer::world::World;
use crate::process::Process;

/// The last acknowledged token of each chain, by who holds it: nobody shares one.
pub(super) struct Chains(Vec<Vec<String>>);

/// What a load of refreshes saw.
pub(super) struct Refreshed {
    pub(super) acknowledged: usize,
    pub(super) wall: Duration,
}

impl Chains {
    /// As many chains as are said, spread over all grants of the database.
    pub(super) fn begin(world: &World, chains: usize, grants: usize) -> Self {
        let each = grants / chains;
        let held = |caller: usize| {
            let own = (caller..chains).step_by(CALLERS);
            own.map(|chain| world.first_refresh_token(chain * each)).collect()
        };
        Self((0..CALLERS).map(held).collect())
    }

    /// Refreshes as fast as the callers can, until so many are acknowledged or the server is gone. A caller takes its
    /// chains in turn, and has the next token of a chain only from the answer to the last one.
    pub(super) fn refresh(&mut self, world: &Rc<World>, count: usize) -> Refreshed {
        let begun = Rc::new(Cell::new(0));
        let acknowledged = Rc::new(Cell::new(0));
        let started = Instant::now();
        let ended = together(|number| {
            let (world, mut held) = (Rc::clone(world), self.0[number].clone());
            let (begun, acknowledged) = (Rc::clone(&begun), Rc::clone(&acknowledged));
            async move {
                let mut caller = Caller::connect(&world.address).await;
                let mut chain = 0;
                while begun.get() < count {
                    begun.set(begun.get() + 1);
                    let Some(answer) = caller.ask(&world.refresh(&held[chain])).await else {
                        break;
                    };
                    member(answer, "refresh_token").clone_into(&mut held[chain]);
                    acknowledged.set(acknowledged.get() + 1);
                    chain = (chain + 1) % held.len();
                }
                held
            }
        });
        let wall = started.elapsed();
        self.0 = ended;
        Refreshed {
            acknowledged: acknowledged.get(),
            wall,
        }
    }

    /// Kills the process in the middle of a load, starts another one on the same database, and asks it for every chain
    /// by the last token that was acknowledged. What was acknowledged and lost would be a token from the future, which
    /// is refused; what was done and not acknowledged is within the grace.
    pub(super) fn survive_a_kill(&mut self, world: &Rc<World>, process: Process) -> Process {
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1500));
            drop(process);
        });
        let refreshed = self.refresh(world, usize::MAX);
        killer.join().expect("killed");
        assert!(refreshed.acknowledged > 0, "there was a load to kill it under");
        let next = world.start();
        let each = self.0.iter().map(Vec::len).max().expect("chains");
        let whole = self.refresh(world, each * CALLERS);
        assert_eq!(
            whole.acknowledged,
            each * CALLERS,
            "nothing that was acknowledged is lost"
        );
        next
    }
}
