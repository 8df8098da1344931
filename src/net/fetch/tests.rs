//! Tests of the fetcher: a listener on loopback that answers with exactly the bytes of the test.

use std::net::TcpListener as StdListener;

use rcgen::{BasicConstraints, CertificateParams, GeneralSubtree, IsCa, Issuer, KeyPair, NameConstraints, SanType};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).expect("valid")
}

fn loopback_allowed() -> FetchPolicy {
    FetchPolicy {
        allow_private_addresses: true,
        allow_http: true,
        ca_file: None,
    }
}

/// A server of this test: each connection gets the bytes, and what it sent comes out of `requests`.
struct Server {
    port: u16,
    requests: mpsc::UnboundedReceiver<String>,
}

/// How a connection ends once the bytes are written.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Hang,
    /// Writes kilobytes until the other side has gone.
    Flood,
}

impl Server {
    async fn start(answer: impl Into<Vec<u8>>, then: Then, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let (sender, requests) = mpsc::unbounded_channel();
        let answer: Vec<u8> = answer.into();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, sender, tls) = (answer.clone(), sender.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &answer, then, &sender).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &answer, then, &sender).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { port, requests }
    }

    async fn plain(answer: impl Into<Vec<u8>>) -> Self {
        Self::start(answer, Then::Close, None).await
    }

    fn url(&self) -> Url {
        url(&format!("http://127.0.0.1:{}/keys", self.port))
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &[u8],
    then: Then,
    requests: &mpsc::UnboundedSender<String>,
) -> Option<()> {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    let _ = requests.send(String::from_utf8_lossy(&request).into_owned());
    stream.write_all(answer).await.ok()?;
    stream.flush().await.ok()?;
    match then {
        Then::Close => stream.shutdown().await.ok()?,
        Then::Hang => std::future::pending::<()>().await,
        Then::Flood => while stream.write_all(&[b' '; 1024]).await.is_ok() {},
    }
    Some(())
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}

fn ok(headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

// === addresses ===

#[test]
fn attack_f18_only_addresses_of_the_public_internet_are_public() {
    let private = "0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.254 \
        169.254.0.1 169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.8 192.0.2.1 192.88.99.1 192.168.0.1 \
        192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1 \
        255.255.255.255 :: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 \
        64:ff9b::127.0.0.1 64:ff9b::10.1.2.3 64:ff9b:1::8.8.8.8 100::1 2001::1 2001:2::1 2001:10::1 2001:20::1 \
        2001:db8::1 2002:7f00:1::1 2002:a00:1::1 2002:c0a8:101::1 3fff::1 3fff:fff::1 5f00::1 fc00::1 fd00:ec2::254 \
        fdff::1 fe80::1 febf::1 fec0::1 ff02::1 ff0e::1";
    let public = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 \
        169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.1 192.167.255.255 192.169.0.0 198.17.255.255 \
        198.20.0.0 203.0.112.1 203.0.114.1 223.255.255.255 2001:200::1 2001:4860:4860::8888 2606:4700::1111 \
        2a00:1450::1 2002:808:808::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 3ffe::1";
    let (private, public): (Vec<_>, Vec<_>) = (
        private.split_whitespace().collect(),
        public.split_whitespace().collect(),
    );
    assert!(private.len() + public.len() >= 60);
    for (addresses, expected) in [(private, false), (public, true)] {
        for text in addresses {
            let address: IpAddr = text.parse().expect(text);
            assert_eq!(is_public(address), expected, "{text}");
        }
    }
}

#[tokio::test]
async fn attack_f18_schemes_and_literal_addresses_are_judged_before_anything_is_sent() {
    let listener = StdListener::bind("127.0.0.1:0").expect("bound");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("bound").port();
    let http = FetchPolicy {
        allow_http: true,
        ..FetchPolicy::default()
    };
    let (strict, open) = (FetchPolicy::default(), loopback_allowed());
    let table = [
        ("http://localhost:PORT/", &strict, FetchError::Scheme),
        ("http://127.0.0.1:PORT/", &strict, FetchError::Scheme),
        ("ftp://127.0.0.1:PORT/", &open, FetchError::Scheme),
        ("file:///etc/passwd", &open, FetchError::Scheme),
        ("data:application/json,{}", &open, FetchError::Scheme),
        ("https://127.0.0.1:PORT/", &strict, FetchError::PrivateAddress),
        ("http://127.0.0.1:PORT/", &http, FetchError::PrivateAddress),
        ("http://127.1:PORT/", &http, FetchError::PrivateAddress),
        ("http://2130706433:PORT/", &http, FetchError::PrivateAddress),
        ("http://0x7f.0.0.1:PORT/", &http, FetchError::PrivateAddress),
        ("http://0177.0.0.1:PORT/", &http, FetchError::PrivateAddress),
        ("http://0.0.0.0:PORT/", &http, FetchError::PrivateAddress),
        ("http://[::1]:PORT/", &http, FetchError::PrivateAddress),
        ("http://[::ffff:127.0.0.1]:PORT/", &http, FetchError::PrivateAddress),
        ("http://169.254.169.254/latest", &http, FetchError::PrivateAddress),
        // A name: its addresses are judged where they are resolved.
        ("http://localhost:PORT/", &http, FetchError::PrivateAddress),
        ("http://user@localhost:PORT/", &http, FetchError::PrivateAddress),
        ("https://localhost:PORT/", &strict, FetchError::PrivateAddress),
    ];
    for (text, policy, expected) in table {
        let url = url(&text.replace("PORT", &port.to_string()));
        assert_eq!(HttpFetch::new().get(&url, policy).await, Err(expected), "{text}");
    }
    // A connection would wait here to be accepted.
    let accepted = listener.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(accepted, Err(std::io::ErrorKind::WouldBlock));
}

// === answers ===

#[tokio::test]
async fn an_answer_comes_with_its_status_and_ages() {
    let server = Server::plain(
        "HTTP/1.1 429 Slow\r\ncontent-length: 2\r\nretry-after: 7\r\ncache-control: public, max-age=60\r\n\r\n{}",
    );
    let mut server = server.await;
    let fetched = HttpFetch::new().get(&server.url(), &loopback_allowed()).await;
    let expected = Fetched {
        status: 429,
        body: b"{}".to_vec(),
        max_age: Some(Duration::from_secs(60)),
        retry_after: Some(Duration::from_secs(7)),
    };
    assert_eq!(fetched, Ok(expected));
    let request = server.requests.recv().await.expect("asked");
    assert!(request.starts_with("GET /keys HTTP/1.1\r\n"), "{request}");
    assert!(!request.to_lowercase().contains("accept-encoding"), "{request}");
}

#[tokio::test]
async fn attack_b05_no_redirect_is_followed() {
    for status in ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"] {
        let listener = StdListener::bind("127.0.0.1:0").expect("bound");
        listener.set_nonblocking(true).expect("set");
        let target = listener.local_addr().expect("bound");
        let answer = format!("HTTP/1.1 {status}\r\nlocation: http://{target}/\r\ncontent-length: 0\r\n\r\n");
        let server = Server::plain(answer).await;
        let fetched = HttpFetch::new().get(&server.url(), &loopback_allowed()).await;
        assert_eq!(fetched, Err(FetchError::Redirect), "{status}");
        assert!(listener.accept().is_err(), "{status}");
    }
}

#[tokio::test]
async fn attack_b05_a_body_is_read_up_to_64_kib() {
    let body = "x".repeat(DOCUMENT_BYTES_MAX);
    let server = Server::plain(ok("", &body)).await;
    let fetched = HttpFetch::new().get(&server.url(), &loopback_allowed()).await;
    assert_eq!(fetched.expect("it fits").body.len(), DOCUMENT_BYTES_MAX);
    let server = Server::plain(ok("", &(body + "x"))).await;
    let fetched = HttpFetch::new().get(&server.url(), &loopback_allowed()).await;
    assert_eq!(fetched, Err(FetchError::TooLong));
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
    let server = Server::start(endless, Then::Flood, None).await;
    let fetched = HttpFetch::new().get(&server.url(), &loopback_allowed()).await;
    assert_eq!(fetched, Err(FetchError::TooLong));
    let without_length = "HTTP/1.1 200 OK\r\n\r\n";
    let server = Server::start(without_length, Then::Flood, None).await;
    let fetched = HttpFetch::new().get(&server.url(), &loopback_allowed()).await;
    assert_eq!(fetched, Err(FetchError::TooLong));
}

#[tokio::test]
async fn attack_b05_an_answer_that_does_not_end_is_given_up() {
    let parts = [
        ("nothing", ""),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-le"),
        ("half a body", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"),
    ];
    for (name, part) in parts {
        let server = Server::start(part, Then::Hang, None).await;
        let fetch = HttpFetch {
            timeout: Duration::from_millis(100),
            ..HttpFetch::default()
        };
        let fetched = fetch.get(&server.url(), &loopback_allowed()).await;
        assert_eq!(fetched, Err(FetchError::Timeout), "{name}");
    }
}

#[tokio::test]
async fn attack_b05_a_compressed_body_is_not_inflated() {
    let server = Server::plain(ok("content-encoding: gzip\r\n", "\u{1f}not inflated")).await;
    let fetched = HttpFetch::new().get(&server.url(), &loopback_allowed()).await;
    assert_eq!(fetched.expect("an answer").body, b"\x1fnot inflated");
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_no_answer() {
    let server = Server::plain("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}").await;
    let fetched = HttpFetch::new().get(&server.url(), &loopback_allowed()).await;
    assert!(matches!(fetched, Err(FetchError::Transport(_))), "{fetched:?}");
}

#[test]
fn attack_b05_cache_control_is_read_as_far_as_we_need_it() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let table = [
        ("max-age=60", seconds(60)),
        ("public, max-age=60, must-revalidate", seconds(60)),
        ("Max-Age=60", seconds(60)),
        ("max-age=\"60\"", seconds(60)),
        ("max-age=0", seconds(0)),
        ("no-store", seconds(0)),
        ("max-age=60, no-store", seconds(0)),
        ("NO-CACHE, max-age=60", seconds(0)),
        ("s-maxage=60", None),
        ("public", None),
        ("", None),
        ("max-age", None),
        ("max-age=", None),
        ("max-age=-1", None),
        ("max-age=1.5", None),
        ("max-age=99999999999999999999999", None),
        ("max-age=18446744073709551615", seconds(u64::MAX)),
    ];
    for (text, expected) in table {
        assert_eq!(max_age(text), expected, "{text}");
    }
}

// === introspection requests ===

#[tokio::test]
async fn edge_j27_a_form_goes_out_with_both_parts_of_basic_encoded() {
    use base64::Engine as _;
    let mut server = Server::plain(ok("", "{}")).await;
    let secret = Secret::new("p@ss:wört +%".to_owned());
    let form = [("token", "a&b=c"), ("token_type_hint", "access_token")];
    HttpFetch::new()
        .post_form(&server.url(), &loopback_allowed(), ("the gate:1", &secret), &form)
        .await
        .expect("an answer");
    let request = server.requests.recv().await.expect("asked");
    let basic = request
        .lines()
        .find_map(|line| line.strip_prefix("authorization: Basic "))
        .expect("authenticated");
    let decoded = base64::engine::general_purpose::STANDARD.decode(basic).expect("base64");
    assert_eq!(
        String::from_utf8(decoded).expect("UTF-8"),
        "the+gate%3A1:p%40ss%3Aw%C3%B6rt+%2B%25"
    );
    assert!(
        request.ends_with("\r\n\r\ntoken=a%26b%3Dc&token_type_hint=access_token"),
        "{request}"
    );
}

#[tokio::test]
async fn attack_e18_no_error_repeats_a_secret() {
    let closed = {
        let listener = StdListener::bind("127.0.0.1:0").expect("bound");
        listener.local_addr().expect("bound").port()
    };
    let broken = Server::plain("canary-answer\r\n\r\n").await;
    let secret = Secret::new("canary-secret".to_owned());
    let untrusted = tls_server(None, "localhost", 4000).await;
    let table = [
        ("http", closed),
        ("https", closed),
        ("http", broken.port),
        ("https", untrusted.port),
    ];
    for (scheme, port) in table {
        let url = url(&format!(
            "{scheme}://canary-user:canary-pass@127.0.0.1:{port}/canary-path?canary=query"
        ));
        let outcome = HttpFetch::new()
            .post_form(
                &url,
                &loopback_allowed(),
                ("gate", &secret),
                &[("token", "canary-token")],
            )
            .await;
        let error = outcome.expect_err("nobody answers in HTTP");
        assert!(matches!(error, FetchError::Transport(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

// === TLS ===

struct Authority(Issuer<'static, KeyPair>, String);

fn authority(constraint: Option<&str>) -> Authority {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.name_constraints = constraint.map(|name| NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(name.to_owned())],
        excluded_subtrees: Vec::new(),
    });
    let pem = params.self_signed(&key).expect("a certificate").pem();
    Authority(Issuer::new(params, key), pem)
}

/// A server that shows a certificate for this name, valid until this year.
async fn tls_server(authority: Option<&Authority>, name: &str, until: i32) -> Server {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName(name.try_into().expect("a name"))];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = match authority {
        Some(authority) => params.signed_by(&key, &authority.0),
        None => params.self_signed(&key),
    }
    .expect("a certificate");
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let private = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::start(ok("connection: close\r\n", "{}"), Then::Close, Some(acceptor)).await
}

#[tokio::test]
async fn attack_b14_only_a_certificate_of_a_trusted_authority_for_this_host_and_time_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, other, narrow) = (authority(None), authority(None), authority(Some("example.org")));
    let table = [
        ("good", &ours, tls_server(Some(&ours), "localhost", 4000).await, true),
        (
            "expired",
            &ours,
            tls_server(Some(&ours), "localhost", 2021).await,
            false,
        ),
        ("self-signed", &ours, tls_server(None, "localhost", 4000).await, false),
        (
            "another authority",
            &ours,
            tls_server(Some(&other), "localhost", 4000).await,
            false,
        ),
        (
            "wrong host",
            &ours,
            tls_server(Some(&ours), "localhost.example", 4000).await,
            false,
        ),
        (
            "outside the name constraints",
            &narrow,
            tls_server(Some(&narrow), "localhost", 4000).await,
            false,
        ),
    ];
    for (index, (name, trusted, server, accepted)) in table.into_iter().enumerate() {
        let ca_file = folder.path().join(format!("{index}.pem"));
        std::fs::write(&ca_file, &trusted.1).expect("written");
        let mut policy = loopback_allowed();
        let url = url(&format!("https://localhost:{}/", server.port));
        let without = HttpFetch::new().get(&url, &policy).await;
        assert!(matches!(without, Err(FetchError::Transport(_))), "{name}: {without:?}");
        policy.ca_file = Some(ca_file);
        match HttpFetch::new().get(&url, &policy).await {
            Ok(fetched) => assert!(accepted && fetched.body == b"{}", "{name}"),
            Err(error) => {
                assert!(!accepted, "{name}: {error}");
                assert!(error.to_string().contains("certificate"), "{name}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_changed_ca_file_takes_effect_and_an_unusable_one_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca_file = folder.path().join("ca.pem");
    let (old, new) = (authority(None), authority(None));
    let server = tls_server(Some(&new), "localhost", 4000).await;
    let url = url(&format!("https://localhost:{}/", server.port));
    let policy = FetchPolicy {
        ca_file: Some(ca_file.clone()),
        ..loopback_allowed()
    };
    let fetch = HttpFetch::new();
    let missing = fetch.get(&url, &policy).await;
    assert!(matches!(missing, Err(FetchError::CaFile(_))), "{missing:?}");
    for (pem, accepted) in [(&old.1, false), (&new.1, true), (&old.1, false)] {
        std::fs::write(&ca_file, pem).expect("written");
        assert_eq!(fetch.get(&url, &policy).await.is_ok(), accepted);
    }
    std::fs::write(&ca_file, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").expect("written");
    let broken = fetch.get(&url, &policy).await;
    assert!(matches!(broken, Err(FetchError::CaFile(_))), "{broken:?}");
    assert_eq!(fetch.clients.lock().len(), 1, "one pool for each policy");
}
