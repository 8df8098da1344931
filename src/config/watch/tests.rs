use std::fs;

use super::*;

/// Long enough for any machine; nothing waits for it unless the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

async fn next(watch: &mut Watch) -> Option<Request> {
    tokio::time::timeout(PATIENCE, watch.next())
        .await
        .expect("a request in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_written_in_place_is_seen() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("scopegate.yaml");
    fs::write(&path, "a: 1").expect("written");
    let (mut watch, error) = watch(&path);
    assert!(error.is_none());
    fs::write(&path, "a: 2").expect("written");
    assert_eq!(next(&mut watch).await, Some(Request::Change));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaced_by_another_is_seen() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("scopegate.yaml");
    fs::write(&path, "a: 1").expect("written");
    let (mut watch, _) = watch(&path);
    fs::write(folder.path().join("new"), "a: 2").expect("written");
    fs::rename(folder.path().join("new"), &path).expect("renamed");
    assert_eq!(next(&mut watch).await, Some(Request::Change));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_symlink_of_a_config_map_is_seen() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().expect("folder");
    for (version, text) in [("..1", "a: 1"), ("..2", "a: 2")] {
        fs::create_dir(folder.path().join(version)).expect("made");
        fs::write(folder.path().join(version).join("scopegate.yaml"), text).expect("written");
    }
    symlink("..1", folder.path().join("..data")).expect("linked");
    let path = folder.path().join("scopegate.yaml");
    symlink("..data/scopegate.yaml", &path).expect("linked");
    let (mut watch, _) = watch(&path);
    symlink("..2", folder.path().join("..data_tmp")).expect("linked");
    fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).expect("swapped");
    assert_eq!(next(&mut watch).await, Some(Request::Change));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_the_bytes_alone_asks_for_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("scopegate.yaml");
    fs::write(&path, "a: 1").expect("written");
    let (mut watch, _) = watch(&path);
    fs::write(folder.path().join("neighbour"), "x").expect("written");
    fs::write(&path, "a: 1").expect("written");
    fs::remove_file(&path).expect("removed");
    fs::write(&path, "a: 3").expect("written");
    assert_eq!(next(&mut watch).await, Some(Request::Change));
    // one request for all of it: the next one is that of the next change
    assert!(watch.requests.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_watched_leaves_signals() {
    let (_watch, error) = watch(Path::new("/nowhere/at/all/scopegate.yaml"));
    assert!(error.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_written_beside_the_file_without_a_pause_hides_no_change() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("scopegate.yaml");
    fs::write(&path, "a: 1").expect("written");
    let (mut watch, _) = watch(&path);
    let log = folder.path().join("log");
    let busy = tokio::spawn(async move {
        // Ends with the test: it is aborted below, and bounded in any case.
        for line in 0..u32::MAX {
            fs::write(&log, line.to_string()).expect("written");
            tokio::task::yield_now().await;
        }
    });
    fs::write(&path, "a: 2").expect("written");
    let seen = next(&mut watch).await;
    assert!(!busy.is_finished(), "the log was written until the change was seen");
    busy.abort();
    assert_eq!(seen, Some(Request::Change));
}
