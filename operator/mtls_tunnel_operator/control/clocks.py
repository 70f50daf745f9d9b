"""Nothing is signed, and no rotation goes on, by a clock that the API server does not share.

By a wrong clock every certificate may look due and every wait over, and what it signs is refused by everybody.
"""

from mtls_tunnel.trust import pki
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.errors import AuthorityError


def check_clocks(api: Api) -> None:
    """Compare our clock with the date of the API server's last answer.

    Raises:
        AuthorityError: ClocksDiffer, by more than a fresh certificate allows for.
    """
    if abs(api.ahead) > pki.SKEW_SECONDS:
        minutes = int(pki.SKEW_SECONDS / 60)
        text = f"The clocks of operator and API server differ by more than {minutes} min: correct the wrong one."
        raise AuthorityError("ClocksDiffer", text)
