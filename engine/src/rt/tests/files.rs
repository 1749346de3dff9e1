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

    async fn files_are_synced_together(rt: Rt, dir: PathBuf) {
        let mut files = Vec::new();
        for name in ["f", "g", "h"] {
            let file = rt.open(&dir.join(name), OpenMode::CreateNew).await.unwrap();
            file.write_at(filled(&rt, 4096, 7), 4096, 0).await.unwrap();
            files.push(file);
        }
        rt.sync_files(&dir, &files).await.unwrap();
        assert_eq!(kind(rt.sync_files(&dir.join("nowhere"), &[]).await), io::ErrorKind::NotFound);
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

    async fn a_buffer_is_as_it_was_when_its_write_began(rt: Rt, dir: PathBuf) {
        let file = rt.open(&dir.join("f"), OpenMode::Create).await.unwrap();
        for len in [65536, 12288] {
            let buf = filled(&rt, 65536, 1);
            let write = file.write_at(Rc::clone(&buf), len, 0);
            let _ = futures_util::future::select(Box::pin(write), Box::pin(rt.turn())).await;
            // Whoever has the buffer alone may change it.
            if let Ok(mut buf) = Rc::try_unwrap(buf) {
                buf.fill(0xff);
            }
        }
        rt.sleep(std::time::Duration::from_millis(50)).await;
        let read = file.read_at(0, 65536).await.unwrap();
        assert!(read.iter().all(|b| *b != 0xff));
    }

    async fn any_part_of_a_buffer_is_written(rt: Rt, dir: PathBuf) {
        let file = rt.open(&dir.join("f"), OpenMode::Create).await.unwrap();
        let mut buf = rt.alloc(256 << 10);
        for (i, block) in buf.chunks_mut(4096).enumerate() {
            block.fill(i as u8);
        }
        let buf = Rc::new(buf);
        // Several parts at once, with the whole among them; the caller reads meanwhile.
        let writes = [1, 3, 25, 32, 63, 64, 64].into_iter().enumerate().map(|(i, blocks)| {
            let (file, buf) = (file.clone(), Rc::clone(&buf));
            let write = rt.spawn("writes", async move {
                file.write_at(buf, blocks * 4096, (i as u64) << 20).await
            });
            (i, blocks, write)
        });
        for (i, blocks, write) in writes.collect::<Vec<_>>() {
            assert_eq!(buf[4096 * 7], 7);
            write.await.unwrap().unwrap();
            let read = file.read_at((i as u64) << 20, 256 << 10).await.unwrap();
            for (n, block) in read.chunks(4096).enumerate() {
                let expected = if n < blocks { n as u8 } else { 0 };
                assert!(block.iter().all(|b| *b == expected), "block {n} of {blocks}");
            }
        }
        let mut buf = Rc::try_unwrap(buf).unwrap();
        buf.fill(9);
        file.write_at(Rc::new(buf), 256 << 10, 0).await.unwrap();
        assert!(file.read_at(0, 256 << 10).await.unwrap().iter().all(|b| *b == 9));
    }

    async fn a_dropped_read_harms_nothing(rt: Rt, dir: PathBuf) {
        let file = rt.open(&dir.join("f"), OpenMode::Create).await.unwrap();
        file.write_at(filled(&rt, 65536, 5), 65536, 0).await.unwrap();
        for _ in 0..50 {
            let read = file.read_at(0, 65536);
            let _ = futures_util::future::select(Box::pin(read), Box::pin(rt.turn())).await;
            // What the device still reads into must not be handed out.
            let mine = filled(&rt, 65536, 1);
            rt.sleep(std::time::Duration::from_micros(100)).await;
            assert!(mine.iter().all(|b| *b == 1));
        }
        drop(file.read_at(0, 4096));
        let clean = file.read_at(0, 65536).await.unwrap();
        assert!(clean.iter().all(|b| *b == 5));
    }

    async fn what_was_read_can_be_kept_changed_and_written(rt: Rt, dir: PathBuf) {
        let file = rt.open(&dir.join("f"), OpenMode::Create).await.unwrap();
        for i in 0..100_u8 {
            let pos = u64::from(i) << 16;
            file.write_at(filled(&rt, 65536, i), 65536, pos).await.unwrap();
        }
        let mut kept = Vec::new();
        for i in 0..100 {
            kept.push(file.read_at(i << 16, 65536).await.unwrap());
        }
        for (i, read) in kept.iter_mut().enumerate() {
            assert!(read.iter().all(|b| usize::from(*b) == i), "read {i}");
            read[1] = 0xee;
            assert_eq!((usize::from(read[0]), read[1], read.len()), (i, 0xee, 65536));
        }
        drop(kept);
        let read = file.read_at(3 << 16, 65536).await.unwrap();
        assert_eq!(read[1], 3, "changing what was read changes no file");
        file.write_at(Rc::new(read), 8192, 4 << 16).await.unwrap();
        let read = file.read_at(4 << 16, 16384).await.unwrap();
        assert!(read[..8192].iter().all(|b| *b == 3) && read[8192..].iter().all(|b| *b == 4));
    }

    async fn a_core_may_end_with_operations_under_way(rt: Rt, dir: PathBuf) {
        let path = dir.join("f");
        let file = rt.open(&path, OpenMode::Create).await.unwrap();
        file.write_at(filled(&rt, 1 << 20, 1), 1 << 20, 0).await.unwrap();
        for i in 0..32 {
            let (file, own, path) = (file.clone(), rt.clone(), path.clone());
            let buf = filled(&rt, 65536, 2);
            rt.spawn("is not awaited", async move {
                drop(file.read_at(0, 1 << 20).await);
                drop(file.write_at(buf, if i % 2 == 0 { 65536 } else { 4096 }, 0).await);
                drop(file.sync().await);
                drop(own.open(&path, OpenMode::Read).await);
            })
            .detach();
        }
        rt.turn().await;
    }

    async fn opening_leaves_no_other_name(rt: Rt, dir: PathBuf) {
        let file = rt.open(&dir.join("f"), OpenMode::CreateNew).await.unwrap();
        let second = dir.join("g");
        let open = rt.open(&second, OpenMode::Create);
        let _ = futures_util::future::select(Box::pin(open), Box::pin(rt.turn())).await;
        drop(rt.open(&dir.join("h"), OpenMode::Create));
        rt.sleep(std::time::Duration::from_millis(20)).await;
        let names = rt.list_dir(&dir).await.unwrap();
        assert!(names.iter().all(|e| e.name == "f" || e.name == "g"), "{names:?}");
        file.close().await.unwrap();
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
