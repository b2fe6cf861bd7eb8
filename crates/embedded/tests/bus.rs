//! The embedded bus under the suite of every bus.

mod bus_stage;
mod encrypted;

mod as_it_comes {
    conformance::bus_suite!(super::bus_stage::stage);
}

mod encrypted_as_well {
    fn stage() -> super::bus_stage::Embedded {
        let mut stage = super::bus_stage::stage();
        stage.encryption = super::encrypted::encryption(stage.dir.path());
        stage
    }

    conformance::bus_suite!(stage);
}
