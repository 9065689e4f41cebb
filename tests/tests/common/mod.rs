//! Running one story under every kernel's habits and every number of engines.

use tests::driver::{Driver, Kernel};
use tests::guest::Failure;

/// Numbers of SDMA engines that a device may have.
pub const ENGINES: [usize; 3] = [1, 2, 4];

/// Says where a story failed.
pub fn tell(kernel: Kernel, engines: usize) -> impl Fn(Failure) -> String {
    move |failure| format!("{kernel:?} with {engines} SDMA engines: {failure}")
}

/// Tells the story to a driver whose device is up.
pub fn everywhere(story: impl Fn(&mut Driver) -> Result<(), Failure>) -> Result<(), String> {
    for kernel in Kernel::ALL {
        for engines in ENGINES {
            let told = Driver::bring_up(kernel, engines).and_then(|mut driver| story(&mut driver));
            told.map_err(tell(kernel, engines))?;
        }
    }
    Ok(())
}
