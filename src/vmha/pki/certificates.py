"""Keys and certificates as they are made here: P-256, SHA-256, names in the subject alternative name.

Pure but for the randomness of keys and serial numbers: nothing is read or written, and the time is given.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vmha.model.errors import Rejected

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")

CLOCK_SKEW: Final = timedelta(hours=1)
"""A certificate counts from a little earlier: the host that uses it may have a clock that is behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key, in PEM."""

    cert: bytes
    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a certificate is to say. ``addresses``: IP addresses and host names."""

    common_name: str
    unit: str = ""
    addresses: tuple[str, ...] = ()
    server: bool = False
    client: bool = True


def make_authority(name: str, *, now: datetime, until: datetime) -> Pair:
    """An authority that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    cert = (
        _begin(subject, subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(cert, key)


def sign(authority: Pair, wanted: Wanted, *, now: datetime, days: int) -> Pair:
    """A certificate with a new key, good for no longer than the authority's own.

    Raises:
        Rejected: something in it can not stand in a certificate.
    """
    issuer = x509.load_pem_x509_certificate(authority.cert)
    signing = serialization.load_pem_private_key(authority.key, password=None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        names = [x509.NameAttribute(NameOID.COMMON_NAME, wanted.common_name)]
        names += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, wanted.unit)] if wanted.unit else []
        subject = x509.Name(names)
    except ValueError as error:
        raise Rejected(f"{wanted.common_name!r}: {error}", accepted="a name of 1 to 64 characters") from error
    until = min(now + timedelta(days=days), issuer.not_valid_after_utc)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH] if wanted.server else []
    purposes += [ExtendedKeyUsageOID.CLIENT_AUTH] if wanted.client else []
    builder = (
        _begin(subject, issuer.subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # Not critical: of a usage that is, libvirt 9 wants encipherment, and a key of this kind has none to give.
        .add_extension(_usage(signs_certificates=False), critical=False)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    if wanted.addresses:
        builder = builder.add_extension(x509.SubjectAlternativeName(_general(wanted.addresses)), critical=False)
    return _pair(builder.sign(signing, hashes.SHA256()), key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a certificate says of itself."""

    common_name: str
    expires: datetime
    serial: str
    authority: str
    """The key identifier of whoever signed it; its own for an authority."""
    addresses: tuple[str, ...]


def read_certificate(pem: bytes, *, where: str) -> Known:
    """Raises ``Rejected`` when it is none."""
    try:
        cert = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise Rejected(f"{where}: no certificate", accepted="a certificate in PEM form") from error
    found = cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    try:
        signer = cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""
    except x509.ExtensionNotFound:
        signer = key_identifier(cert)
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = tuple(str(name.value) for name in names)
    except x509.ExtensionNotFound:
        addresses = ()
    return Known(
        common_name=str(found[0].value) if found else "",
        expires=cert.not_valid_after_utc,
        serial=f"{cert.serial_number:x}",
        authority=signer.hex(),
        addresses=addresses,
    )


def key_identifier(cert: x509.Certificate) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(cert.public_key()).digest


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general(addresses: Iterable[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for address in dict.fromkeys(addresses):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(address)))
        except ValueError:
            if not _HOST.fullmatch(address):
                raise Rejected(f"address: {address!r}", accepted="an IP address or a host name") from None
            found.append(x509.DNSName(address))
    return found


def _pair(cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    form = serialization.PrivateFormat.PKCS8  # what gnutls (libvirt, QEMU), OpenSSL, Go and gRPC all read
    plain = serialization.NoEncryption()
    return Pair(
        cert=cert.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(serialization.Encoding.PEM, form, plain),
    )


def check_pair(pair: Pair, ca: bytes, *, now: datetime, where: str) -> Known:
    """What the certificate says, if it is good now, its key fits it, and one of these authorities has signed it.

    Raises:
        Rejected: it is not so.
    """
    known = read_certificate(pair.cert, where=where)
    cert = x509.load_pem_x509_certificate(pair.cert)
    try:
        key = serialization.load_pem_private_key(pair.key, password=None)
        authorities = x509.load_pem_x509_certificates(ca)
    except (ValueError, TypeError) as error:
        raise Rejected(f"{where}: the key, or the authority, is none: {error}", accepted="PEM, no password") from error
    if key.public_key() != cert.public_key():
        raise Rejected(f"{where}: the key is not the certificate's", accepted="both of one vmha pki issue")
    if not cert.not_valid_before_utc <= now <= cert.not_valid_after_utc:
        raise Rejected(f"{where}: good until {known.expires:%Y-%m-%d %H:%M}", accepted="a certificate that is good now")
    if not any(_has_signed(authority, cert) for authority in authorities):
        raise Rejected(f"{where}: not signed by an authority of its ca.pem", accepted="a chain of one link")
    return known


def _has_signed(authority: x509.Certificate, cert: x509.Certificate) -> bool:
    try:
        cert.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
