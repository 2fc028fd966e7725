"""`synthkit sign`: a signature over a release's manifest."""

from __future__ import annotations

from synthkit.cli.help import PUBLISH
from synthkit.cli.shared import FolderArgument, app, user_errors
from synthkit.cli.signing import CertificateOption, ChainOption, KeyOption, SigstoreOption, identity_of
from synthkit.system.names import printable


@app.command(
    rich_help_panel=PUBLISH,
    epilog="Examples: `synthkit sign releases/digits-lt-augcond --key lab.pem` · "
    "`synthkit verify releases/digits-lt-augcond --signer lab.pub`",
)
def sign(
    release: FolderArgument,
    key: KeyOption = None,
    certificate: CertificateOption = None,
    chain: ChainOption = None,
    sigstore: SigstoreOption = False,
) -> None:
    """Sign a release, so that others can check who made it.

    It signs the manifest, which has the SHA-256 of every other file, and adds manifest.json.sig, in the
    format of OpenSSF's model-signing. All other files stay as they are. It verifies the release first.
    """
    with user_errors():
        from synthkit.publish.sign import sign_release
        from synthkit.release.files import SIGNATURE

        identity = identity_of(key, certificate, chain, sigstore=sigstore)
        manifest = sign_release(release, identity)
        print(printable(f"{release / SIGNATURE}: {manifest.name} {manifest.version} is signed by {identity}"))
        print(f"Check it: synthkit verify {release} --signer WHO (the public key, or a certificate)")
