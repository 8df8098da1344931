use super::*;
use crate::config::source::Memory;

#[test]
fn scratch() {
    for name in ["bank", "external", "broken"] {
        let path = PathBuf::from(format!("/work/shared/examples/{name}/scopegate.yaml"));
        match load(&path, &source::System) {
            Ok(settings) => println!("{}\n{:#?}", settings.report, settings.policy.servers),
            Err(report) => println!("{report}"),
        }
    }
}
