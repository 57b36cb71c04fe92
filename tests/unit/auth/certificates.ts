/** Self-signed certificates made by openssl, in DER, with the hashes that openssl says they have. */

function der(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text.match(/../g)!, (byte) => parseInt(byte, 16));
}

/** Signed by ECDSA with SHA-384. `key` is its private key, PKCS #8 in base64: a secret of nobody. */
export const ECDSA_SHA384 = {
  der: der(
    "MIIBcTCCARegAwIBAgIUcwc5rHojXei8oYRFa2o9tJ/uPmwwCgYIKoZIzj0EAwMwDTELMAkGA1UEAwwCZGIwIBcN" +
      "MjYxMTI3MDIxODM5WhgPMjEyNjExMDMwMjE4MzlaMA0xCzAJBgNVBAMMAmRiMFkwEwYHKoZIzj0CAQYIKoZIzj0D" +
      "AQcDQgAEOk3IMDnAtG0NLHd/tLAtuRwSDvvlHB+ow0ydfyqbgsY/00ro3anNg4XCMbCK0lLKPQ0LWAp82dkUM2F/" +
      "jkfxVKNTMFEwHQYDVR0OBBYEFGh+EzmBGbyNxkTIS8fMyb6SG6a/MB8GA1UdIwQYMBaAFGh+EzmBGbyNxkTIS8fM" +
      "yb6SG6a/MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwMDSAAwRQIgDJQ9ihE9XS5vREPCQqT5ffo4kGPYyPzU" +
      "+ZNPgTDozsYCIQD9mje2pOJ7P/A6CCpKPg3D2ZK4lEO8VHRi8NgDfD8hiQ==",
  ),
  endPoint: hex(
    "372ba69c3a3044ec23a2f689176cf255800a0cbeeed7ed246e8150c2391db29a0de95ee4dd64a5dc0b1252fe1e39d52c",
  ),
  key: "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6FmyJYg5K/XrmmFVVT5y2aWvFrgqLscPU08P3fpb" +
    "j32hRANCAAQ6TcgwOcC0bQ0sd3+0sC25HBIO++UcH6jDTJ1/KpuCxj/TSujdqc2DhcIxsIrSUso9DQtYCnzZ2RQz" +
    "YX+OR/FU",
};

/** Signed by RSASSA-PSS with SHA-512. */
export const PSS_SHA512 = {
  der: der(
    "MIICYDCCAZWgAwIBAgIUMIQnt8ehCYI2ojslDM6oPRmWlrUwQQYJKoZIhvcNAQEKMDSgDzANBglghkgBZQMEAgMF" +
      "AKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgMFAKIDAgEQMA0xCzAJBgNVBAMMAmRiMCAXDTI2MTEyNzAyMTUz" +
      "NFoYDzIxMjYxMTAzMDIxNTM0WjANMQswCQYDVQQDDAJkYjCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEA1ylm" +
      "k90kUngW72F78Ub21HzrZEyPh0xEhrJfb1xDW/EkKUaIxn+35S435s7lAGG7mCGXxvON5ReFfpY1QCNGwMZDyPYr" +
      "UgP8MMvhbrYd1cT46X0Y1fPI7hBd0/eZtQ/+u5QC7Cl2mbt1e1xf0xk2mSfrK8C/bk6Fo2tqYlFzNd8CAwEAAaNT" +
      "MFEwHQYDVR0OBBYEFOT5FzgxCRqyvO2wbCDEZfkvu5W4MB8GA1UdIwQYMBaAFOT5FzgxCRqyvO2wbCDEZfkvu5W4" +
      "MA8GA1UdEwEB/wQFMAMBAf8wQQYJKoZIhvcNAQEKMDSgDzANBglghkgBZQMEAgMFAKEcMBoGCSqGSIb3DQEBCDAN" +
      "BglghkgBZQMEAgMFAKIDAgEQA4GBAIRrdeSk5yX+yE/DTfsOzjDH9KGPSu6nAmwsmWCkGoFLKTonxltKjPqv4nU5" +
      "3DAbqHj/rZiVpdanCQtiWDsbdnNVPZQfF4Ni7K6s7DCi2jjKvaOX8z27hHfUs9nrjmdZI3nGOHoTf8NbwljfNTRb" +
      "3i09++Wj2NWwWPJxQPlmqUce",
  ),
  endPoint: hex(
    "2cb569008b8e1c0d2abe98e2a0e86c45c314fc5f1098f0a3d2c7192312916e84d56c01fe46eb6a2799c2d9d4179f0783f8334a5d48e08a5ee7decdadfca74ad5",
  ),
};

/** Signed by RSA with SHA-1, and so bound to by SHA-256. */
export const RSA_SHA1 = {
  der: der(
    "MIIB+DCCAWGgAwIBAgIUU3yCyKRzTstDKhr+bKtyJsY7rwAwDQYJKoZIhvcNAQEFBQAwDTELMAkGA1UEAwwCZGIw" +
      "IBcNMjYxMTI3MDIxNTM0WhgPMjEyNjExMDMwMjE1MzRaMA0xCzAJBgNVBAMMAmRiMIGfMA0GCSqGSIb3DQEBAQUA" +
      "A4GNADCBiQKBgQDMzg+eVMAb0ItpaOTeNiudr0/y3Nce82woGyalfcOjX9i/z948+YjR37ZU4zTRW15OP0leu9e4" +
      "Hgimf5RzgNAjXc87I3HjoVzUGeH7fuUPWFps+OYvFQFHJ9LNpDgsZ+IwHDvlPEzT2xMDzt8WLoaDa/hVSmh8YYFf" +
      "NMzem/JqAQIDAQABo1MwUTAdBgNVHQ4EFgQUbF3MpBRwAuDqm8joYU+FyRGzYFYwHwYDVR0jBBgwFoAUbF3MpBRw" +
      "AuDqm8joYU+FyRGzYFYwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQUFAAOBgQDHhZ+zQYBh9c91E1pGtvrG" +
      "ZMYk82UYtg7bZQlFpdDah3SaUjdDzW98VOKW5kAAy8mTREXTzL+KI1p3RhI5dhlZHDcHgjrR/qclvYKalf22oFZ6" +
      "YseXBobTW+BqXMC6jRGgQAjABHeW4Zfih5d486IdYi2vIbuRCaImOMSwwNJF7w==",
  ),
  endPoint: hex("79a41a88835fc909029a98b2f26be2562ef852d021a54b338653e238fe674502"),
};

/** Signed by Ed25519, which has no hash of its own. */
export const ED25519 = {
  der: der(
    "MIIBMDCB46ADAgECAhQfytpR+EgRWmKEUEJJlYTxkYrkKDAFBgMrZXAwDTELMAkGA1UEAwwCZGIwIBcNMjYxMTI3" +
      "MDIxNTM0WhgPMjEyNjExMDMwMjE1MzRaMA0xCzAJBgNVBAMMAmRiMCowBQYDK2VwAyEAD41ApRKKsLTuEwUCjuL3" +
      "wYRSKC4WA/8TxlBw/yuzXEqjUzBRMB0GA1UdDgQWBBSvNFvysCa1Et9TqodiWFOjVbXR0zAfBgNVHSMEGDAWgBSv" +
      "NFvysCa1Et9TqodiWFOjVbXR0zAPBgNVHRMBAf8EBTADAQH/MAUGAytlcANBAKHvS4sqynNrWei8f8yKUEXpbM72" +
      "Mb6cu3gNuLkB6GF9jCPhUtnD5j1lh6SytSPpgkuQwpROzHFkUSR44rQwXwE=",
  ),
  endPoint: undefined,
};
