//! Files and directories.

use std::{io, path::PathBuf, rc::Rc};

use super::behaviours;
use crate::rt::{DmaBuf, OpenMode, Rt};

fn filled(rt: &Rt, len: usize, byte: u8) -> Rc<DmaBuf> {
    let mut buf = rt.alloc(len);
    buf.fill(byte);
    Rc::new(buf)
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.map(|_| ()).unwrap_err().kind()
}

behaviours! {
    async fn what_is_written_is_read(rt: Rt, dir: PathBuf) {
        let file = rt.open(&dir.join("f"), OpenMode::CreateNew).await.unwrap();
        let buf = filled(&rt, 8192, 7);
        file.write_at(Rc::clone(&buf), 8192, 4096).await.unwrap();
        file.write_at(filled(&rt, 16384, 9), 4096, 0).await.unwrap();
        file.sync().await.unwrap();
        assert_eq!(file.len().await.unwrap(), 12288);
        let read = file.read_at(0, 12288).await.unwrap();
        assert!(read[..4096].iter().all(|b| *b == 9), "a prefix of the buffer was written");
        assert!(read[4096..].iter().all(|b| *b == 7));
        assert_eq!(buf.len(), 8192, "the caller keeps the buffer");
        file.close().await.unwrap();
    }

    async fn reads_stop_at_the_end(rt: Rt, dir: PathBuf) {
        let path = dir.join("f");
        rt.write_file(&path, &[5; 5000]).await.unwrap();
        let file = rt.open(&path, OpenMode::Read).await.unwrap();
        let read = file.read_at(0, 8192).await.unwrap();
        assert_eq!((read.len(), read[4999]), (5000, 5));
        assert_eq!(file.read_at(4096, 4096).await.unwrap().len(), 904);
        assert_eq!(file.read_at(8192, 4096).await.unwrap().len(), 0);
    }

    async fn many_operations_in_flight(rt: Rt, dir: PathBuf) {
        let file = rt.open(&dir.join("f"), OpenMode::Create).await.unwrap();
        file.allocate(64 * 4096).await.unwrap();
        let tasks: Vec<_> = (0..64_u8).map(|i| {
            let (file, buf) = (file.clone(), filled(&rt, 4096, i));
            rt.spawn("writes", async move { file.write_at(buf, 4096, u64::from(i) * 4096).await })
        }).collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let tasks: Vec<_> = (0..64_u8).map(|i| {
            let file = file.clone();
            rt.spawn("reads", async move { file.read_at(u64::from(i) * 4096, 4096).await })
        }).collect();
        for (i, task) in tasks.into_iter().enumerate() {
            assert!(task.await.unwrap().unwrap().iter().all(|b| usize::from(*b) == i));
        }
    }

    async fn a_dropped_write_harms_nothing(rt: Rt, dir: PathBuf) {
        let file = rt.open(&dir.join("f"), OpenMode::Create).await.unwrap();
        for i in 0..50 {
            let write = file.write_at(filled(&rt, 65536, i), 65536, 0);
            let _ = futures_util::future::select(Box::pin(write), Box::pin(rt.turn())).await;
            // The buffer that comes back must not be one that the device still reads.
            drop(filled(&rt, 65536, 0xff));
        }
        file.write_at(filled(&rt, 4096, 77), 4096, 65536).await.unwrap();
        rt.sleep(std::time::Duration::from_millis(50)).await;
        let read = file.read_at(0, 65536).await.unwrap();
        assert!(read.iter().all(|b| *b != 0xff), "a reused buffer was written");
    }

    async fn open_modes(rt: Rt, dir: PathBuf) {
        let path = dir.join("f");
        assert_eq!(kind(rt.open(&path, OpenMode::Read).await), io::ErrorKind::NotFound);
        assert_eq!(kind(rt.open(&path, OpenMode::ReadWrite).await), io::ErrorKind::NotFound);
        let file = rt.open(&path, OpenMode::Create).await.unwrap();
        file.write_at(filled(&rt, 4096, 1), 4096, 0).await.unwrap();
        drop(file);
        assert_eq!(kind(rt.open(&path, OpenMode::CreateNew).await), io::ErrorKind::AlreadyExists);
        let again = rt.open(&path, OpenMode::Create).await.unwrap();
        assert_eq!(again.len().await.unwrap(), 4096, "an existing file keeps its contents");
        let reader = rt.open(&path, OpenMode::Read).await.unwrap();
        assert!(reader.write_at(filled(&rt, 4096, 2), 4096, 0).await.is_err());
        assert!(rt.open(&dir.join("no/f"), OpenMode::Create).await.is_err());
    }

    async fn lengths(rt: Rt, dir: PathBuf) {
        let file = rt.open(&dir.join("f"), OpenMode::Create).await.unwrap();
        file.allocate(1 << 20).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 1 << 20);
        file.allocate(4096).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 1 << 20, "allocating less changes nothing");
        file.write_at(filled(&rt, 8192, 3), 8192, 0).await.unwrap();
        file.truncate(5000).await.unwrap();
        file.truncate(8192).await.unwrap();
        let read = file.read_at(0, 8192).await.unwrap();
        assert!(read[..5000].iter().all(|b| *b == 3));
        assert!(read[5000..].iter().all(|b| *b == 0), "what was cut comes back as zeros");
    }

    async fn directories(rt: Rt, dir: PathBuf) {
        let deep = dir.join("a/b");
        rt.create_dir_all(&deep).await.unwrap();
        rt.create_dir_all(&deep).await.unwrap();
        rt.write_file(&deep.join("two"), b"22").await.unwrap();
        rt.write_file(&deep.join("one"), b"1").await.unwrap();
        rt.create_dir_all(&deep.join("sub")).await.unwrap();
        rt.sync_dir(&deep).await.unwrap();
        let list = rt.list_dir(&deep).await.unwrap();
        let seen: Vec<_> =
            list.iter().map(|e| (e.name.to_str().unwrap(), e.is_dir, e.len)).collect();
        assert_eq!(seen, [("one", false, 1), ("sub", true, 0), ("two", false, 2)]);
        rt.rename(&deep.join("one"), &deep.join("two")).await.unwrap();
        assert_eq!(rt.read_file(&deep.join("two"), 10).await.unwrap(), b"1");
        assert!(!rt.exists(&deep.join("one")).await.unwrap());
        rt.remove_file(&deep.join("two")).await.unwrap();
        assert_eq!(kind(rt.remove_file(&deep.join("two")).await), io::ErrorKind::NotFound);
        rt.rename(&deep, &dir.join("moved")).await.unwrap();
        assert!(rt.exists(&dir.join("moved/sub")).await.unwrap());
        rt.remove_dir_all(&dir.join("moved")).await.unwrap();
        assert_eq!(rt.list_dir(&dir.join("a")).await.unwrap(), []);
        assert_eq!(kind(rt.list_dir(&deep).await), io::ErrorKind::NotFound);
    }

    async fn an_open_file_outlives_its_name(rt: Rt, dir: PathBuf) {
        let path = dir.join("f");
        let file = rt.open(&path, OpenMode::Create).await.unwrap();
        file.write_at(filled(&rt, 4096, 4), 4096, 0).await.unwrap();
        rt.rename(&path, &dir.join("g")).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 4096);
        rt.remove_file(&dir.join("g")).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 4096);
        assert_eq!(file.read_at(0, 4096).await.unwrap()[0], 4);
    }

    async fn small_files(rt: Rt, dir: PathBuf) {
        let path = dir.join("f");
        assert_eq!(kind(rt.read_file(&path, 10).await), io::ErrorKind::NotFound);
        rt.write_file(&path, b"longer contents").await.unwrap();
        rt.write_file(&path, b"short").await.unwrap();
        assert_eq!(rt.read_file(&path, 5).await.unwrap(), b"short");
        assert_eq!(kind(rt.read_file(&path, 4).await), io::ErrorKind::FileTooLarge);
        rt.replace_file(&path, b"replaced").await.unwrap();
        assert_eq!(rt.read_file(&path, 10).await.unwrap(), b"replaced");
        rt.write_file(&path, b"").await.unwrap();
        assert_eq!(rt.read_file(&path, 10).await.unwrap(), b"");
        assert_eq!(rt.list_dir(&dir).await.unwrap().len(), 1, "no temporary file stays");
    }

    async fn a_lock_has_one_holder(rt: Rt, dir: PathBuf) {
        let path = dir.join(".lock");
        let lock = rt.lock_file(&path).unwrap();
        assert_eq!(kind(rt.lock_file(&path)), io::ErrorKind::WouldBlock);
        drop(lock);
        let _lock = rt.lock_file(&path).unwrap();
    }

    async fn space_is_told(rt: Rt, dir: PathBuf) {
        let space = rt.space(&dir).await.unwrap();
        assert!(space.free_bytes > 0 && space.free_bytes <= space.total_bytes, "{space:?}");
    }
}
