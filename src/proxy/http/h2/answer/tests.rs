use super::*;

/// What was read: heads as their status and fields, data as text.
#[derive(Debug, Default, Eq, PartialEq)]
struct Said {
    interim: Vec<u16>,
    status: u16,
    fields: Vec<String>,
    data: String,
    trailers: Vec<String>,
    has_ended: bool,
}

fn lines(fields: &HeaderMap) -> Vec<String> {
    fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
}

/// Reads an answer that is written in pieces, and data of which the client takes no more than `room` bytes at once.
fn read(is_to_head: bool, pieces: &[&str], room: usize) -> Result<Said, Unreadable> {
    let (mut reader, mut said, mut owed) = (AnswerReader::new(is_to_head), Said::default(), 0);
    for piece in pieces {
        let bytes = piece.replace('\n', "\r\n").into_bytes();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            if owed > 0 {
                let count = owed.min(rest.len()).min(room);
                said.data.push_str(std::str::from_utf8(&rest[..count]).unwrap());
                owed -= count;
                rest = &rest[count..];
                if owed == 0 && reader.ends_here() {
                    reader.end();
                }
                continue;
            }
            let (used, part) = reader.step(rest)?;
            rest = &rest[used..];
            match part {
                Part::More => assert!(rest.is_empty(), "whoever wants more has used all"),
                Part::Interim(head) => said.interim.push(head.status.as_u16()),
                Part::Head { head, has_ended } => {
                    assert_eq!(has_ended, reader.has_ended());
                    (said.status, said.fields) = (head.status.as_u16(), lines(&head.fields));
                }
                Part::Data(count) => owed = count,
                Part::End { trailers } => said.trailers = lines(&trailers),
            }
        }
    }
    said.has_ended = owed == 0 && reader.has_ended();
    Ok(said)
}

fn said(status: u16, fields: &[&str], data: &str, has_ended: bool) -> Said {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    Said { status, fields, data: data.to_owned(), has_ended, ..Said::default() }
}

#[test]
fn an_answer_of_http_1_is_said_without_what_concerns_its_connection() {
    let head = "HTTP/1.1 200 OK\nContent-Length: 5\nConnection: close\nX-A:  1 \nKeep-Alive: 5\n\n";
    let whole = said(200, &["content-length: 5", "x-a: 1"], "hello", true);
    for room in [1, 3, 100] {
        assert_eq!(read(false, &[head, "hello"], room).unwrap(), whole);
        assert_eq!(
            read(false, &[&head[..20], &head[20..40], &format!("{}hel", &head[40..]), "lo"], room).unwrap(),
            whole
        );
    }
    assert!(!read(false, &[head, "hell"], 9).unwrap().has_ended, "what is not whole has not ended");
    assert!(!read(false, &[head], 9).unwrap().has_ended);
}

#[test]
fn chunks_become_data_and_their_trailers_trailers() {
    let head = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n";
    let read_one = read(false, &[head, "5\n", "hello", "\n", "3\nyou\n0\nGrpc-Status: 0\n\n"], 2).unwrap();
    assert_eq!(read_one, Said { trailers: vec!["grpc-status: 0".to_owned()], ..said(200, &[], "helloyou", true) });
    assert_eq!(read(false, &[head, "0\n\n"], 9).unwrap(), said(200, &[], "", true));
    assert!(!read(false, &[head, "5\nhello\n"], 9).unwrap().has_ended);
}

#[test]
fn an_answer_without_a_body_ends_with_its_head() {
    for (is_to_head, head, fields) in [
        (true, "HTTP/1.1 200 OK\nContent-Length: 5\n\n", &["content-length: 5"][..]),
        (true, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", &[]),
        (false, "HTTP/1.1 200 OK\nContent-Length: 0\n\n", &["content-length: 0"]),
        (false, "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n", &["content-length: 5"]),
        (false, "HTTP/1.1 204 No Content\n\n", &[]),
    ] {
        let read = read(is_to_head, &[head], 9).unwrap();
        assert!(read.has_ended && read.fields == fields, "{head:?}: {read:?}");
    }
}

#[test]
fn interim_answers_come_before_the_final_one() {
    let (hints, head) = ("HTTP/1.1 103 Early Hints\nLink: </a>\n\n", "HTTP/1.1 204 No Content\n\n");
    let whole = Said { interim: vec![103, 100], ..said(204, &[], "", true) };
    assert_eq!(read(false, &[hints, "HTTP/1.1 100 Continue\n\n", head], 9).unwrap(), whole);
    assert_eq!(
        read(false, &[&hints[..9], &format!("{}HTTP/1.1 100 Continue\n\n{head}", &hints[9..])], 9).unwrap(),
        whole
    );
}

#[test]
fn what_is_no_answer_is_not_sent() {
    for pieces in [
        &["HTTP/1.1 200 OK\nContent-Length: 5\n\n", "hello", "more"][..],
        &["HTTP/1.1 204 No Content\n\nmore"],
        &["HTTP/1.1 2x0 OK\n\n"],
        &["HTTP/1.1 200 OK\nno colon\n\n"],
        &["HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", "xyz\n"],
    ] {
        assert!(read(false, pieces, 9).is_err(), "{pieces:?}");
    }
}
