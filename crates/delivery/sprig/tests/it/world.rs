//! A host whose clock stands still and whose chance follows a plan.

use std::any::Any;

use coracle_gotemplate::Host;

pub struct World {
    state: u64,
}

impl Default for World {
    fn default() -> World {
        World { state: 0x2545_F491_4F6C_DD1D }
    }
}

impl Host for World {
    fn now(&mut self) -> (i64, u32) {
        (1_700_000_000, 0)
    }

    fn random(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            *byte = (self.state >> 32) as u8;
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
